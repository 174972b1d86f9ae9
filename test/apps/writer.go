package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

type writerFlags struct {
	path           string
	keys           int
	value          int
	keyspace       uint64
	rate           float64
	duration       time.Duration
	count          int
	noSync         bool
	noFreelistSync bool
	mapFreelist    bool
	pageSize       int
	initialMB      int
	compressible   bool
	deletes        float64
	nested         float64
	overflow       float64
	report         int
	log            string
	seed           uint64
}

func parseWriterFlags(args []string) writerFlags {
	var f writerFlags
	set := flag.NewFlagSet("writer", flag.ExitOnError)
	set.StringVar(&f.path, "path", "", "database file")
	set.IntVar(&f.keys, "keys", 3, "keys put or deleted per transaction")
	set.IntVar(&f.value, "value", 128, "bytes per value")
	set.Uint64Var(&f.keyspace, "keyspace", 2000, "distinct keys: with -value, what bounds the file")
	set.Float64Var(&f.rate, "rate", 0, "transactions per second; 0 is flat out")
	set.DurationVar(&f.duration, "duration", 0, "how long; 0 is until SIGTERM or -count")
	set.IntVar(&f.count, "count", 0, "how many transactions; 0 is until SIGTERM or -duration")
	set.BoolVar(&f.noSync, "nosync", false, "bbolt NoSync")
	set.BoolVar(&f.noFreelistSync, "nofreelistsync", false, "bbolt NoFreelistSync")
	set.BoolVar(&f.mapFreelist, "mapfreelist", false, "bbolt's hashmap freelist")
	set.IntVar(&f.pageSize, "pagesize", 4096, "page size of a new file")
	set.IntVar(&f.initialMB, "initial", 0, "fill a new file to about so many MB before the first measured transaction")
	set.BoolVar(&f.compressible, "compressible", false, "values like text; otherwise random bytes")
	set.Float64Var(&f.deletes, "deletes", 0.2, "share of keys that are deleted instead of put")
	set.Float64Var(&f.nested, "nested", 0.2, "share of transactions that also touch nested buckets")
	set.Float64Var(&f.overflow, "overflow", 0.02, "share of values that span two to six pages")
	set.IntVar(&f.report, "report", 1000, "print a line per so many commits")
	set.StringVar(&f.log, "log", "", "append a line per acknowledged commit: txid, number, sum, count, unix ns")
	set.Uint64Var(&f.seed, "seed", 1, "random seed")
	_ = set.Parse(args)
	return f
}

type writer struct {
	flags  writerFlags
	db     *bbolt.DB
	random *rand.Rand
	bytes  *rand.ChaCha8
	log    *os.File
	stop   chan os.Signal

	latencies []time.Duration
	started   time.Time
	firstTxID uint64
	lastTxID  uint64
}

type writerLine struct {
	Event        string  `json:"event"`
	Pid          int     `json:"pid,omitempty"`
	TxID         uint64  `json:"txid"`
	FirstTxID    uint64  `json:"firstTxid,omitempty"`
	Transactions int     `json:"transactions"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"perSecond"`
	P50Ms        float64 `json:"p50Ms"`
	P99Ms        float64 `json:"p99Ms"`
	MaxMs        float64 `json:"maxMs"`
	FileBytes    int64   `json:"fileBytes"`
}

func openForWriting(f writerFlags) (*bbolt.DB, error) {
	freelist := bbolt.FreelistArrayType
	if f.mapFreelist {
		freelist = bbolt.FreelistMapType
	}
	return bbolt.Open(f.path, 0o600, &bbolt.Options{
		Timeout:        10 * time.Second,
		NoSync:         f.noSync,
		NoFreelistSync: f.noFreelistSync,
		FreelistType:   freelist,
		PageSize:       f.pageSize,
		// Growing the map takes the writer's own lock for long; applications that care set this too.
		InitialMmapSize: max(64, 4*f.initialMB) << 20,
	})
}

func runWriter(args []string) error {
	f := parseWriterFlags(args)
	if f.path == "" {
		return fmt.Errorf("writer: -path is needed")
	}
	db, err := openForWriting(f)
	if err != nil {
		return err
	}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], f.seed)
	w := &writer{flags: f, db: db, random: rand.New(rand.NewPCG(f.seed, 7)), bytes: rand.NewChaCha8(key),
		stop: make(chan os.Signal, 2)}
	signal.Notify(w.stop, syscall.SIGTERM, syscall.SIGINT)
	if f.log != "" {
		if w.log, err = os.OpenFile(f.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		defer w.log.Close()
	}
	if err := w.prepare(); err != nil {
		return err
	}
	w.started = time.Now()
	say(w.line("ready"))
	if err := w.run(); err != nil {
		return err
	}
	done := w.line("done")
	if err := db.Close(); err != nil {
		return err
	}
	say(done)
	return nil
}

// prepare makes the schema and the initial data, without measuring.
func (w *writer) prepare() error {
	fresh := false
	err := w.db.Update(func(tx *bbolt.Tx) error {
		fresh = tx.Bucket(appBucket) == nil
		if fresh {
			return createSchema(tx)
		}
		return nil
	})
	perKey := w.flags.value + 40
	want := uint64(w.flags.initialMB) << 20 / uint64(perKey)
	w.flags.keyspace = max(w.flags.keyspace, want)
	if err != nil || !fresh || want == 0 {
		return err
	}
	w.db.NoSync = true
	for next := uint64(0); next < want; {
		err := w.db.Update(func(tx *bbolt.Tx) error {
			t, err := loadTotals(tx)
			if err != nil {
				return err
			}
			b := tx.Bucket(dataBucket)
			b.FillPercent = 0.9 // keys come in order
			for end := min(want, next+uint64(8<<20/perKey)+1); next < end; next++ {
				if err := w.put(b, dataBucket, dataKey(next), w.makeValue(w.flags.value), &t); err != nil {
					return err
				}
			}
			return finish(tx, t)
		})
		if err != nil {
			return err
		}
	}
	w.db.NoSync = w.flags.noSync
	return w.db.Sync()
}

func (w *writer) run() error {
	var deadline <-chan time.Time
	if w.flags.duration > 0 {
		deadline = time.After(w.flags.duration)
	}
	for n := 0; w.flags.count == 0 || n < w.flags.count; n++ {
		var due <-chan time.Time
		if w.flags.rate > 0 {
			wait := time.Until(w.started.Add(time.Duration(float64(n) / w.flags.rate * float64(time.Second))))
			due = time.After(max(0, wait))
		} else {
			ready := make(chan time.Time)
			close(ready)
			due = ready
		}
		select {
		case <-w.stop:
			return nil
		case <-deadline:
			return nil
		case <-due:
		}
		if err := w.transact(); err != nil {
			return err
		}
		if w.flags.report > 0 && len(w.latencies)%w.flags.report == 0 {
			say(w.line("progress"))
		}
	}
	return nil
}

func (w *writer) transact() error {
	begun := time.Now()
	tx, err := w.db.Begin(true)
	if err != nil {
		return err
	}
	t, err := w.change(tx)
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	id := uint64(tx.ID())
	if err := tx.Commit(); err != nil {
		return err
	}
	now := time.Now()
	if len(w.latencies) < 20_000_000 {
		w.latencies = append(w.latencies, now.Sub(begun))
	}
	if w.firstTxID == 0 {
		w.firstTxID = id
	}
	w.lastTxID = id
	if w.log != nil {
		_, err = fmt.Fprintf(w.log, "%d %d %016x %d %d\n", id, t.Number, t.Sum, t.Count, now.UnixNano())
	}
	return err
}

func (w *writer) change(tx *bbolt.Tx) (totals, error) {
	t, err := loadTotals(tx)
	if err != nil {
		return t, err
	}
	b := tx.Bucket(dataBucket)
	for range w.flags.keys {
		key := dataKey(w.random.Uint64N(w.flags.keyspace))
		if w.random.Float64() < w.flags.deletes {
			err = w.delete(b, dataBucket, key, &t)
		} else {
			size := w.flags.value
			if w.random.Float64() < w.flags.overflow {
				size = w.db.Info().PageSize * (2 + w.random.IntN(5))
			}
			err = w.put(b, dataBucket, key, w.makeValue(size), &t)
		}
		if err != nil {
			return t, err
		}
	}
	if w.random.Float64() < w.flags.nested {
		if err := w.changeNested(tx, &t); err != nil {
			return t, err
		}
	}
	t.Number++
	t.TxID = uint64(tx.ID())
	return t, store(tx, t)
}

// changeNested fills one of 32 nested buckets, and now and then deletes one whole; small ones are inline.
func (w *writer) changeNested(tx *bbolt.Tx, t *totals) error {
	parent := tx.Bucket(nestedBucket)
	name := fmt.Appendf(nil, "bucket-%02d", w.random.IntN(32))
	path := nestedPath(nestedBucket, name)
	if b := parent.Bucket(name); b != nil && w.random.IntN(12) == 0 {
		count := totals{}
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			count.add(path, k, v)
		}
		t.Count, t.Sum, t.Xor = t.Count-count.Count, t.Sum-count.Sum, t.Xor^count.Xor
		return parent.DeleteBucket(name)
	}
	b, err := parent.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	for range 1 + w.random.IntN(4) {
		if err := w.put(b, path, dataKey(w.random.Uint64N(64)), w.makeValue(w.flags.value), t); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) put(b *bbolt.Bucket, path, key, value []byte, t *totals) error {
	if old := b.Get(key); old != nil {
		t.remove(path, key, old)
	}
	t.add(path, key, value)
	return b.Put(key, value)
}

func (w *writer) delete(b *bbolt.Bucket, path, key []byte, t *totals) error {
	old := b.Get(key)
	if old == nil {
		return nil
	}
	t.remove(path, key, old)
	return b.Delete(key)
}

func (w *writer) makeValue(size int) []byte {
	out := make([]byte, size)
	if w.flags.compressible {
		line := fmt.Sprintf(`{"order":%d,"state":"shipped","customer":"c-%04d","note":"left at the door"} `,
			w.random.IntN(1_000_000), w.random.IntN(10_000))
		for at := 0; at < size; at += len(line) {
			copy(out[at:], line)
		}
		return out
	}
	_, _ = w.bytes.Read(out)
	return out
}

func dataKey(n uint64) []byte {
	return fmt.Appendf(nil, "key-%012d", n)
}

func (w *writer) line(event string) writerLine {
	seconds := time.Since(w.started).Seconds()
	line := writerLine{Event: event, Pid: os.Getpid(), TxID: w.lastTxID, FirstTxID: w.firstTxID,
		Transactions: len(w.latencies), Seconds: round(seconds)}
	if event == "ready" {
		_ = w.db.View(func(tx *bbolt.Tx) error { line.TxID = uint64(tx.ID()); return nil })
		line.Seconds = 0
	}
	if event == "done" && len(w.latencies) > 0 {
		sorted := slices.Clone(w.latencies)
		slices.Sort(sorted)
		at := func(q float64) float64 {
			return round(float64(sorted[int(q*float64(len(sorted)-1))].Microseconds()) / 1000)
		}
		line.P50Ms, line.P99Ms, line.MaxMs = at(0.5), at(0.99), at(1)
		line.PerSecond = round(float64(len(w.latencies)) / seconds)
	}
	if info, err := os.Stat(w.flags.path); err == nil {
		line.FileBytes = info.Size()
	}
	return line
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }
