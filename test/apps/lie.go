package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"

	"go.etcd.io/bbolt"
)

// runLie commits one transaction whose data depends on -variant. With -from the file's old content is put back first,
// in place: what a power loss does when the disk had promised more than it kept. Two variants committed on the same
// old content have the same txid and byte-identical meta pages over different data.
func runLie(args []string) error {
	set := flag.NewFlagSet("lie", flag.ExitOnError)
	path := set.String("path", "", "database file")
	save := set.String("save", "", "first copy the file there")
	from := set.String("from", "", "first put this content back, in place")
	variant := set.String("variant", "A", "what to write")
	_ = set.Parse(args)
	if *save != "" {
		if err := copyInto(*path, *save); err != nil {
			return err
		}
	}
	if *from != "" {
		if err := copyInto(*from, *path); err != nil {
			return err
		}
	}
	db, err := openForWriting(writerFlags{path: *path, noFreelistSync: false, pageSize: 4096})
	if err != nil {
		return err
	}
	var txid int
	err = db.Update(func(tx *bbolt.Tx) error {
		txid = tx.ID()
		t, err := loadTotals(tx)
		if err != nil {
			return err
		}
		w := &writer{db: db}
		value := []byte(fmt.Sprintf("%-64s", *variant))
		if err := w.put(tx.Bucket(dataBucket), dataBucket, []byte("lie"), value, &t); err != nil {
			return err
		}
		return finish(tx, t)
	})
	if err != nil {
		return err
	}
	pageSize := db.Info().PageSize
	if err := db.Close(); err != nil {
		return err
	}
	metas := make([]byte, 2*pageSize)
	file, err := os.Open(*path)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.ReadFull(file, metas); err != nil {
		return err
	}
	sum := sha256.Sum256(metas)
	say(map[string]any{"event": "done", "txid": txid, "variant": *variant, "metaSha256": hex.EncodeToString(sum[:])})
	return nil
}

// copyInto writes the content of one file into another, which keeps its inode.
func copyInto(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	n, err := io.Copy(out, in)
	if err != nil {
		return err
	}
	if err := out.Truncate(n); err != nil {
		return err
	}
	return out.Sync()
}
