package main

import (
	"flag"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// runCompact does what `bbolt compact` and a rename do, as etcd's defragmentation does it: a new file with new,
// lower txids takes the path; an agent must see another file, not a database that went back in time.
func runCompact(args []string) error {
	set := flag.NewFlagSet("compact", flag.ExitOnError)
	path := set.String("path", "", "database file; nobody may have it open")
	_ = set.Parse(args)
	temporary := *path + ".compact"
	_ = os.Remove(temporary)
	source, err := bbolt.Open(*path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	target, err := bbolt.Open(temporary, 0o600, &bbolt.Options{PageSize: source.Info().PageSize})
	if err != nil {
		return err
	}
	if err := bbolt.Compact(target, source, 64<<10); err != nil {
		return err
	}
	var txid int
	err = target.Update(func(tx *bbolt.Tx) error {
		txid = tx.ID()
		t, err := loadTotals(tx)
		if err != nil {
			return err
		}
		t.TxID = 0 // txids began anew
		return store(tx, t)
	})
	if err != nil {
		return err
	}
	if err := source.Close(); err != nil {
		return err
	}
	if err := target.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary, *path); err != nil {
		return err
	}
	say(map[string]any{"event": "done", "txid": txid})
	return nil
}
