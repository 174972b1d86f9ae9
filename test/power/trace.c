// Records what a process does to the files below one directory: creations, writes, truncations, renames, removals and fsyncs, in order. Loaded by
// LD_PRELOAD; PAGEFERRY_TRACE_ROOT is the directory, PAGEFERRY_TRACE the file that is appended to. trace.ts reads it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, FSYNC, DIRSYNC, MKDIR, RENAME, UNLINK, LINK };

struct record {
  uint64_t type, time, inode, offset, covered, pathBytes, dataBytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int traceFd = -1;
static uint64_t count;
static char root[PATH_MAX];
static size_t rootBytes;


__attribute__((constructor)) static void begin(void) {
  const char *place = getenv("PAGEFERRY_TRACE_ROOT"), *file = getenv("PAGEFERRY_TRACE");
  if (place == NULL || file == NULL) return;
  rootBytes = strlen(place);
  memcpy(root, place, rootBytes + 1);
  traceFd = syscall(SYS_openat, AT_FDCWD, file, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
}

static int isBelow(const char *path) {
  return traceFd >= 0 && path != NULL && strncmp(path, root, rootBytes) == 0 && (path[rootBytes] == '/' || path[rootBytes] == 0);
}

// A trace with a hole proves nothing, so whoever cannot write it dies.
static void put(struct record record, const char *path, const struct iovec *data, int pieces) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  record.time = now.tv_sec * 1000000000ull + now.tv_nsec;
  record.pathBytes = path == NULL ? 0 : record.type == RENAME || record.type == LINK ? record.pathBytes : strlen(path);
  struct iovec parts[2 + IOV_MAX];
  parts[0] = (struct iovec){&record, sizeof record};
  parts[1] = (struct iovec){(void *)path, record.pathBytes};
  uint64_t left = record.dataBytes;
  int used = 2;
  for (int at = 0; at < pieces && left > 0; at++) {
    size_t bytes = data[at].iov_len < left ? data[at].iov_len : left;
    parts[used++] = (struct iovec){data[at].iov_base, bytes};
    left -= bytes;
    if (used < IOV_MAX) continue;
    abort();
  }
  uint64_t expected = sizeof record + record.pathBytes + record.dataBytes;
  if (syscall(SYS_writev, traceFd, parts, used) != (long)expected) abort();
  count++;
}

// Whether a descriptor is a file (or, with `directory`, a directory) below the root.
static int isTraced(int fd, struct stat *about, char *path, int directory) {
  if (traceFd < 0 || fd < 0 || fstat(fd, about) != 0) return 0;
  if (directory ? !S_ISDIR(about->st_mode) : !S_ISREG(about->st_mode)) return 0;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t bytes = readlink(link, path, PATH_MAX - 1);
  if (bytes < 0) return 0;
  path[bytes] = 0;
  return isBelow(path);
}

static int openTraced(int directory, const char *path, int flags, mode_t mode) {
  if (!isBelow(path) || !(flags & (O_CREAT | O_TRUNC))) return syscall(SYS_openat, directory, path, flags, mode);
  pthread_mutex_lock(&lock);
  int existed = access(path, F_OK) == 0;
  int fd = syscall(SYS_openat, directory, path, flags, mode), failure = errno;
  struct stat about;
  if (fd >= 0 && fstat(fd, &about) == 0) {
    if (!existed) put((struct record){.type = CREATE, .inode = about.st_ino}, path, NULL, 0);
    else if (flags & O_TRUNC) put((struct record){.type = TRUNCATE, .inode = about.st_ino}, NULL, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = failure;
  return fd;
}

#define OPEN(name, ...)                                                    \
  va_list list;                                                            \
  va_start(list, flags);                                                   \
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;  \
  va_end(list);                                                            \
  return openTraced(__VA_ARGS__, path, flags | O_LARGEFILE, mode)

int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD); }
int openat(int at, const char *path, int flags, ...) { OPEN(openat, at); }
int openat64(int at, const char *path, int flags, ...) { OPEN(openat64, at); }

// `offset` below 0: at the descriptor's own place.
static ssize_t writeTraced(int fd, const struct iovec *data, int pieces, off_t offset) {
  struct stat about;
  char path[PATH_MAX];
  int traced = isTraced(fd, &about, path, 0);
  if (traced) pthread_mutex_lock(&lock);
  off_t at = offset;
  if (traced && offset < 0) {
    fstat(fd, &about);
    at = fcntl(fd, F_GETFL) & O_APPEND ? about.st_size : lseek(fd, 0, SEEK_CUR);
  }
  ssize_t written = offset < 0 ? syscall(SYS_writev, fd, data, pieces) : syscall(SYS_pwritev, fd, data, pieces, offset, 0);
  int failure = errno;
  if (traced && written > 0) {
    struct record record = {.type = WRITE, .inode = about.st_ino, .offset = at, .dataBytes = written};
    put(record, NULL, data, pieces);
  }
  if (traced) pthread_mutex_unlock(&lock);
  errno = failure;
  return written;
}

static ssize_t writeOne(int fd, const void *bytes, size_t length, off_t offset) {
  return writeTraced(fd, &(struct iovec){(void *)bytes, length}, 1, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) { return writeOne(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return writeOne(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return writeOne(fd, bytes, length, at); }
ssize_t writev(int fd, const struct iovec *data, int pieces) { return writeTraced(fd, data, pieces, -1); }
ssize_t pwritev(int fd, const struct iovec *data, int pieces, off_t at) { return writeTraced(fd, data, pieces, at); }
ssize_t pwritev64(int fd, const struct iovec *data, int pieces, off_t at) { return writeTraced(fd, data, pieces, at); }

static int truncated(int fd, off_t length) {
  struct stat about;
  char path[PATH_MAX];
  pthread_mutex_lock(&lock);
  int done = syscall(SYS_ftruncate, fd, length), failure = errno;
  if (done == 0 && isTraced(fd, &about, path, 0))
    put((struct record){.type = TRUNCATE, .inode = about.st_ino, .offset = length}, NULL, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off_t length) { return truncated(fd, length); }

// An fsync makes durable what was done before it began; `covered` counts that.
static int synced(int fd, int number) {
  struct stat about;
  char path[PATH_MAX];
  pthread_mutex_lock(&lock);
  uint64_t covered = count;
  pthread_mutex_unlock(&lock);
  int done = syscall(number, fd), failure = errno;
  pthread_mutex_lock(&lock);
  if (done == 0 && isTraced(fd, &about, path, 0))
    put((struct record){.type = FSYNC, .inode = about.st_ino, .covered = covered}, NULL, NULL, 0);
  else if (done == 0 && isTraced(fd, &about, path, 1))
    put((struct record){.type = DIRSYNC, .covered = covered}, path, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int named(int type, const char *path, long done) {
  int failure = errno;
  if (done == 0 && isBelow(path)) put((struct record){.type = type}, path, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}

static int twice(int type, const char *from, const char *to, long done) {
  int failure = errno;
  if (done == 0 && (isBelow(from) || isBelow(to))) {
    char both[2 * PATH_MAX];
    size_t first = strlen(from) + 1, second = strlen(to);
    memcpy(both, from, first);
    memcpy(both + first, to, second);
    put((struct record){.type = type, .pathBytes = first + second}, both, NULL, 0);
  }
  pthread_mutex_unlock(&lock);
  errno = failure;
  return done;
}

#define LOCKED pthread_mutex_lock(&lock)
int mkdir(const char *path, mode_t mode) { LOCKED; return named(MKDIR, path, syscall(SYS_mkdirat, AT_FDCWD, path, mode)); }
int unlink(const char *path) { LOCKED; return named(UNLINK, path, syscall(SYS_unlinkat, AT_FDCWD, path, 0)); }
int rmdir(const char *path) { LOCKED; return named(UNLINK, path, syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)); }
int rename(const char *from, const char *to) {
  LOCKED;
  return twice(RENAME, from, to, syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int link(const char *from, const char *to) {
  LOCKED;
  return twice(LINK, from, to, syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}
