package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// logicalHash is the SHA-256 of the canonical listing that the golden truth files use: depth first in key order,
// "B <path> seq=<n>" on entering each bucket, "K <path>/<hexkey> <hexvalue>" for each key, path in hex joined by "/".
func logicalHash(tx *bbolt.Tx) string {
	hash := sha256.New()
	out := bufio.NewWriterSize(hash, 1<<16)
	c := tx.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		list(out, tx.Bucket(k), hex.EncodeToString(k))
	}
	_ = out.Flush()
	return hex.EncodeToString(hash.Sum(nil))
}

func list(out *bufio.Writer, b *bbolt.Bucket, path string) {
	fmt.Fprintf(out, "B %s seq=%d\n", path, b.Sequence())
	encoder := hex.NewEncoder(out)
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if v == nil {
			list(out, b.Bucket(k), path+"/"+hex.EncodeToString(k))
			continue
		}
		_, _ = io.WriteString(out, "K "+path+"/")
		_, _ = encoder.Write(k)
		_ = out.WriteByte(' ')
		_, _ = encoder.Write(v)
		_ = out.WriteByte('\n')
	}
}
