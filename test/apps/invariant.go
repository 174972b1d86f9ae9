package main

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// The data carries its own proof. Bucket "app" holds totals over every key of "data" and "nested"; the three counter
// buckets repeat the number of the last transaction in pages far from each other, and the sequence of "data" counts
// with it. A file that mixes two transactions breaks at least one of these.
var (
	appBucket    = []byte("app")
	dataBucket   = []byte("data")
	nestedBucket = []byte("nested")
	counters     = [][]byte{[]byte("counter-a"), []byte("counter-m"), []byte("counter-z")}
	counterKey   = []byte("number")
	totalsKey    = []byte("totals")
)

// counterPad keeps a counter bucket from being inlined in its parent at 4 KiB pages, so that it has a page of its own.
const counterPad = 1200

// totals is what the application believes about itself, kept in the same transaction as the data.
type totals struct {
	Number uint64 // application transactions so far
	TxID   uint64 // bolt's txid of the last one; 0 after a compaction, which starts txids anew
	Count  uint64 // keys under data and nested
	Sum    uint64 // sum of entryHash over them
	Xor    uint64 // xor of the same
}

func (t totals) encode() []byte {
	out := make([]byte, 0, 40)
	for _, v := range []uint64{t.Number, t.TxID, t.Count, t.Sum, t.Xor} {
		out = binary.BigEndian.AppendUint64(out, v)
	}
	return out
}

func decodeTotals(b []byte) (totals, error) {
	if len(b) != 40 {
		return totals{}, fmt.Errorf("totals have %d bytes", len(b))
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	return totals{u(0), u(1), u(2), u(3), u(4)}, nil
}

func loadTotals(tx *bbolt.Tx) (totals, error) {
	b := tx.Bucket(appBucket)
	if b == nil {
		return totals{}, fmt.Errorf("no bucket %q", appBucket)
	}
	return decodeTotals(b.Get(totalsKey))
}

// entryHash is FNV-1a over bucket, key and value with their lengths, then mixed so that sums do not cancel.
func entryHash(bucket, key, value []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, part := range [][]byte{bucket, key, value} {
		h = (h ^ uint64(len(part))) * 1099511628211
		for _, c := range part {
			h = (h ^ uint64(c)) * 1099511628211
		}
	}
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

func (t *totals) add(bucket, key, value []byte) {
	h := entryHash(bucket, key, value)
	t.Count, t.Sum, t.Xor = t.Count+1, t.Sum+h, t.Xor^h
}

func (t *totals) remove(bucket, key, value []byte) {
	h := entryHash(bucket, key, value)
	t.Count, t.Sum, t.Xor = t.Count-1, t.Sum-h, t.Xor^h
}

// createSchema makes the buckets and the first totals; it is the application's transaction number 1.
func createSchema(tx *bbolt.Tx) error {
	for _, name := range append([][]byte{appBucket, dataBucket, nestedBucket}, counters...) {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return finish(tx, totals{})
}

// finish numbers the transaction and writes totals, counters and the sequence.
func finish(tx *bbolt.Tx, t totals) error {
	t.Number++
	t.TxID = uint64(tx.ID())
	return store(tx, t)
}

func store(tx *bbolt.Tx, t totals) error {
	pad := make([]byte, counterPad)
	binary.BigEndian.PutUint64(pad, t.Number)
	for _, name := range counters {
		if err := tx.Bucket(name).Put(counterKey, pad); err != nil {
			return err
		}
	}
	if err := tx.Bucket(dataBucket).SetSequence(t.Number); err != nil {
		return err
	}
	return tx.Bucket(appBucket).Put(totalsKey, t.encode())
}

// checkInvariants recounts everything. A database without the "app" bucket is not the writer's, and has none.
func checkInvariants(tx *bbolt.Tx) (*totals, []string) {
	if tx.Bucket(appBucket) == nil {
		return nil, nil
	}
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	said, err := loadTotals(tx)
	if err != nil {
		return nil, []string{"invariant: " + err.Error()}
	}
	for _, name := range counters {
		b := tx.Bucket(name)
		if b == nil {
			add("invariant: no bucket %q", name)
			continue
		}
		v := b.Get(counterKey)
		if len(v) != counterPad {
			add("invariant: %q has a value of %d bytes", name, len(v))
		} else if n := binary.BigEndian.Uint64(v); n != said.Number {
			add("invariant: %q is at %d, app at %d", name, n, said.Number)
		}
	}
	if said.TxID > uint64(tx.ID()) {
		add("invariant: app wrote in transaction %d, the file is at %d", said.TxID, tx.ID())
	}
	var seen totals
	if b := tx.Bucket(dataBucket); b == nil {
		add("invariant: no bucket %q", dataBucket)
	} else {
		if b.Sequence() != said.Number {
			add("invariant: sequence is %d, app at %d", b.Sequence(), said.Number)
		}
		count(b, dataBucket, &seen)
	}
	if b := tx.Bucket(nestedBucket); b == nil {
		add("invariant: no bucket %q", nestedBucket)
	} else {
		count(b, nestedBucket, &seen)
	}
	if seen.Count != said.Count || seen.Sum != said.Sum || seen.Xor != said.Xor {
		add("invariant: counted %d keys, sum %016x, xor %016x; app says %d, %016x, %016x",
			seen.Count, seen.Sum, seen.Xor, said.Count, said.Sum, said.Xor)
	}
	return &said, problems
}

func count(b *bbolt.Bucket, path []byte, t *totals) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if v == nil {
			count(b.Bucket(k), nestedPath(path, k), t)
		} else {
			t.add(path, k, v)
		}
	}
}

func nestedPath(parent, name []byte) []byte {
	return append(append(append([]byte{}, parent...), '/'), name...)
}
