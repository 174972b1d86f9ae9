package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// problemsMax bounds what is printed of one broken file.
const problemsMax = 20

type checkerFlags struct {
	batch   bool
	worker  bool
	logical bool
	live    bool
	timeout time.Duration
}

// verdict is what the checker says of one file. Ok means: bbolt's check is clean, the file is as long as its
// high-water mark says, and every invariant found in it holds.
type verdict struct {
	Path          string   `json:"path"`
	Ok            bool     `json:"ok"`
	TxID          uint64   `json:"txid"`
	PageSize      int      `json:"pageSize"`
	HighWaterMark uint64   `json:"highWaterMark"`
	HasFreelist   bool     `json:"hasFreelist"`
	FileBytes     int64    `json:"fileBytes"`
	LogicalSha256 string   `json:"logicalSha256,omitempty"`
	LiveSha256    string   `json:"liveSha256,omitempty"`
	LivePages     int      `json:"livePages,omitempty"`
	App           *appSays `json:"app,omitempty"`
	Errors        []string `json:"errors"`
	Ms            int64    `json:"ms"`
}

// appSays is the writer's belief in that file, to be compared with its log.
type appSays struct {
	Number uint64 `json:"number"`
	Count  uint64 `json:"count"`
	Sum    string `json:"sum"`
}

func runChecker(args []string) error {
	var f checkerFlags
	set := flag.NewFlagSet("checker", flag.ExitOnError)
	set.BoolVar(&f.batch, "batch", false, "read paths from stdin, print one line each, survive crashes and hangs")
	set.BoolVar(&f.worker, "worker", false, "as -batch, in this process: dies with a bad file")
	set.BoolVar(&f.logical, "logical", true, "hash the canonical listing")
	set.BoolVar(&f.live, "live", true, "hash the live pages")
	set.DurationVar(&f.timeout, "timeout", 60*time.Second, "per file, with -batch")
	_ = set.Parse(args)
	switch {
	case f.worker:
		return eachLine(os.Stdin, func(path string) error { say(check(path, f)); return nil })
	case f.batch:
		return runBatch(f)
	}
	bad := 0
	for _, path := range set.Args() {
		v := check(path, f)
		say(v)
		if !v.Ok {
			bad++
		}
	}
	if bad > 0 {
		os.Exit(4)
	}
	return nil
}

func eachLine(r io.Reader, each func(string) error) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if path := strings.TrimSpace(lines.Text()); path != "" {
			if err := each(path); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// check judges one file. A panic in this goroutine becomes an error; one in bbolt's own goroutine, an access beyond
// the map or an endless walk end the process, and the batch mode tells of it.
func check(path string, f checkerFlags) (v verdict) {
	begun := time.Now()
	v = verdict{Path: path, Errors: []string{}}
	defer func() {
		if p := recover(); p != nil {
			v.Errors = append(v.Errors, fmt.Sprintf("panic: %v", p))
		}
		v.Ok = len(v.Errors) == 0
		v.Ms = time.Since(begun).Milliseconds()
	}()
	add := func(format string, args ...any) {
		if len(v.Errors) < problemsMax {
			v.Errors = append(v.Errors, fmt.Sprintf(format, args...))
		}
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: 2 * time.Second})
	if err != nil {
		add("open: %v", err)
		return v
	}
	defer db.Close()
	tx, err := db.Begin(false)
	if err != nil {
		add("begin: %v", err)
		return v
	}
	defer func() { _ = tx.Rollback() }()
	v.TxID = uint64(tx.ID())
	for err := range tx.Check() {
		add("check: %v", err)
	}
	said, problems := checkInvariants(tx)
	if said != nil {
		v.App = &appSays{Number: said.Number, Count: said.Count, Sum: fmt.Sprintf("%016x", said.Sum)}
	}
	for _, p := range append(problems, checkEtcd(tx)...) {
		add("%s", p)
	}
	if f.logical {
		v.LogicalSha256 = logicalHash(tx)
	}
	file, err := readFile(path)
	if err != nil {
		add("file: %v", err)
		return v
	}
	defer file.Close()
	v.PageSize, v.HighWaterMark, v.HasFreelist = file.pageSize, file.meta.highWaterMark, file.meta.freelist != noFreelist
	v.FileBytes = file.size
	if want := int64(v.HighWaterMark) * int64(v.PageSize); file.size < want {
		add("length: %d bytes, the high-water mark needs %d", file.size, want)
	}
	if file.meta.txid != v.TxID {
		add("meta: newest by hand is %d, bbolt says %d", file.meta.txid, v.TxID)
	}
	if f.live {
		if v.LiveSha256, v.LivePages, err = file.liveHash(); err != nil {
			add("live: %v", err)
		}
	}
	return v
}

// checkEtcd holds for an etcd file that had puts only and no compaction: every revision is there.
func checkEtcd(tx *bbolt.Tx) []string {
	b := tx.Bucket([]byte("key"))
	if b == nil || tx.Bucket([]byte("members")) == nil {
		return nil
	}
	var first, last, count uint64
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) < 17 {
			return []string{fmt.Sprintf("etcd: key of %d bytes", len(k))}
		}
		main := uint64(0)
		for _, x := range k[:8] {
			main = main<<8 | uint64(x)
		}
		if count == 0 {
			first = main
		}
		if main != last {
			count++
		}
		last = main
	}
	if count > 0 && last-first+1 != count {
		return []string{fmt.Sprintf("etcd: revisions %d to %d hold %d", first, last, count)}
	}
	return nil
}

// runBatch hands the paths to a worker process, and starts a new one when a file kills or hangs it.
func runBatch(f checkerFlags) error {
	var w *worker
	defer func() {
		if w != nil {
			w.end()
		}
	}()
	return eachLine(os.Stdin, func(path string) error {
		if w == nil {
			var err error
			if w, err = startWorker(f); err != nil {
				return err
			}
		}
		line, err := w.ask(path, f.timeout)
		if err == nil {
			_, err = os.Stdout.Write(append(line, '\n'))
			return err
		}
		said := w.end()
		w = nil
		say(verdict{Path: path, Errors: []string{fmt.Sprintf("%v%s", err, said)}})
		return nil
	})
}

type worker struct {
	process *exec.Cmd
	in      io.WriteCloser
	lines   chan []byte
	stderr  *strings.Builder
}

func startWorker(f checkerFlags) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{lines: make(chan []byte), stderr: &strings.Builder{}}
	w.process = exec.Command(self, "checker", "-worker", fmt.Sprintf("-logical=%v", f.logical), fmt.Sprintf("-live=%v", f.live))
	w.process.Stderr = w.stderr
	if w.in, err = w.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(w.lines)
		lines := bufio.NewScanner(out)
		lines.Buffer(make([]byte, 1<<20), 1<<20)
		for lines.Scan() {
			w.lines <- append([]byte{}, lines.Bytes()...)
		}
	}()
	return w, nil
}

func (w *worker) ask(path string, timeout time.Duration) ([]byte, error) {
	if _, err := fmt.Fprintln(w.in, path); err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	select {
	case line, ok := <-w.lines:
		if !ok {
			return nil, fmt.Errorf("checker died")
		}
		if !json.Valid(line) {
			return nil, fmt.Errorf("checker said %q", line)
		}
		return line, nil
	case <-time.After(timeout):
		return nil, fmt.Errorf("checker still busy after %v", timeout)
	}
}

// end stops the worker and returns the first line of what it said on stderr.
func (w *worker) end() string {
	_ = w.in.Close()
	_ = w.process.Process.Kill()
	for range w.lines {
	}
	_ = w.process.Wait()
	first, _, _ := strings.Cut(w.stderr.String(), "\n")
	if first != "" {
		return ": " + first
	}
	return ""
}
