package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"slices"
)

// This file reads bolt pages by hand, without bbolt and without pageferry, so that "the live pages are equal" is
// judged by a third reading of the format.

const (
	noFreelist    = ^uint64(0)
	metaMagic     = 0xED0CDAED
	branchFlag    = 0x01
	leafFlag      = 0x02
	freelistFlag  = 0x10
	bucketElement = 0x01
)

type rawMeta struct {
	root, freelist, highWaterMark, txid uint64
}

type rawFile struct {
	*os.File
	size     int64
	pageSize int
	meta     rawMeta
}

func readFile(path string) (*rawFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	f := &rawFile{File: file, size: info.Size()}
	head := make([]byte, 80)
	for size := 1024; size <= 65536; size *= 2 {
		for slot := range 2 {
			if _, err := file.ReadAt(head, int64(slot*size)); err != nil {
				continue
			}
			if m, pageSize, ok := parseRawMeta(head); ok && pageSize == size && m.txid >= f.meta.txid {
				f.meta, f.pageSize = m, size
			}
		}
	}
	if f.pageSize == 0 {
		file.Close()
		return nil, fmt.Errorf("%s: no valid meta page", path)
	}
	return f, nil
}

func parseRawMeta(b []byte) (rawMeta, int, bool) {
	le := binary.LittleEndian
	sum := uint64(14695981039346656037)
	for _, c := range b[16:72] {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	if le.Uint32(b[16:]) != metaMagic || le.Uint64(b[72:]) != sum {
		return rawMeta{}, 0, false
	}
	return rawMeta{root: le.Uint64(b[32:]), freelist: le.Uint64(b[48:]), highWaterMark: le.Uint64(b[56:]),
		txid: le.Uint64(b[64:])}, int(le.Uint32(b[24:])), true
}

// liveHash is the SHA-256 over every live page in ascending order: id as u64 little-endian, then the block. Pages 0
// and 1 are left out: the newest meta is compared by its fields.
func (f *rawFile) liveHash() (string, int, error) {
	runs := map[uint64]uint32{}
	if f.meta.freelist != noFreelist {
		header, err := f.header(f.meta.freelist)
		if err != nil {
			return "", 0, err
		}
		if header.flags != freelistFlag {
			return "", 0, fmt.Errorf("page %d is no freelist", f.meta.freelist)
		}
		runs[f.meta.freelist] = header.overflow
	}
	if err := f.walk(f.meta.root, runs, 0); err != nil {
		return "", 0, err
	}
	ids := make([]uint64, 0, len(runs))
	for id := range runs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	h := sha256.New()
	pages := 0
	for _, id := range ids {
		n, err := f.hashRun(h, id, runs[id])
		if err != nil {
			return "", 0, err
		}
		pages += n
	}
	return hex.EncodeToString(h.Sum(nil)), pages, nil
}

type pageHead struct {
	flags    uint16
	count    int
	overflow uint32
}

func (f *rawFile) header(id uint64) (pageHead, error) {
	b := make([]byte, 16)
	if id < 2 || id >= f.meta.highWaterMark {
		return pageHead{}, fmt.Errorf("page %d is out of bounds", id)
	}
	if _, err := f.ReadAt(b, int64(id)*int64(f.pageSize)); err != nil {
		return pageHead{}, err
	}
	le := binary.LittleEndian
	if le.Uint64(b) != id {
		return pageHead{}, fmt.Errorf("page %d calls itself %d", id, le.Uint64(b))
	}
	return pageHead{le.Uint16(b[8:]), int(le.Uint16(b[10:])), le.Uint32(b[12:])}, nil
}

func (f *rawFile) walk(id uint64, runs map[uint64]uint32, depth int) error {
	if _, seen := runs[id]; seen || depth > 64 {
		return fmt.Errorf("page %d is reached twice", id)
	}
	header, err := f.header(id)
	if err != nil {
		return err
	}
	runs[id] = header.overflow
	page := make([]byte, (int64(header.overflow)+1)*int64(f.pageSize))
	if _, err := f.ReadAt(page, int64(id)*int64(f.pageSize)); err != nil {
		return err
	}
	le := binary.LittleEndian
	for i := range header.count {
		at := 16 + 16*i
		var child uint64
		switch header.flags {
		case branchFlag:
			child = le.Uint64(page[at+8:])
		case leafFlag:
			if le.Uint32(page[at:])&bucketElement == 0 {
				continue
			}
			child = le.Uint64(page[at+int(le.Uint32(page[at+4:]))+int(le.Uint32(page[at+8:])):])
			if child == 0 {
				continue // inline: it lies in this page
			}
		default:
			return fmt.Errorf("page %d has flags %x", id, header.flags)
		}
		if err := f.walk(child, runs, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (f *rawFile) hashRun(h hash.Hash, id uint64, overflow uint32) (int, error) {
	block := make([]byte, 8+f.pageSize)
	for i := range uint64(overflow) + 1 {
		binary.LittleEndian.PutUint64(block, id+i)
		if _, err := f.ReadAt(block[8:], int64(id+i)*int64(f.pageSize)); err != nil {
			return 0, err
		}
		_, _ = h.Write(block)
	}
	return int(overflow) + 1, nil
}
