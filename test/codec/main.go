// Reads segments and snapshots as the Go implementation (witchbolt/stream) does: the same CBOR and zstd libraries, the same
// struct tags, the same window limit. Prints one JSON line per file, with digests of what it read; or restores a replica.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
)

type segmentHeader struct {
	TxID              uint64            `cbor:"txId" json:"txId"`
	Magic             string            `cbor:"magic" json:"magic"`
	Version           uint16            `cbor:"version" json:"version"`
	Checksum          uint64            `cbor:"checksum" json:"-"`
	PageSize          int               `cbor:"pageSize" json:"pageSize"`
	CreatedAt         time.Time         `cbor:"createdAt" json:"createdAt"`
	PageCount         int               `cbor:"pageCount" json:"pageCount"`
	ParentTxID        uint64            `cbor:"parentTxId" json:"parentTxId"`
	Compression       string            `cbor:"compression" json:"compression"`
	HighWaterMark     uint64            `cbor:"highWaterMark" json:"highWaterMark"`
	AdditionalAttrs   map[string]string `cbor:"additionalAttrs,omitempty" json:"attrs"`
	CompressionLevel  int               `cbor:"compressionLevel,omitempty" json:"-"`
	CompressionWindow int               `cbor:"compressionWindow,omitempty" json:"-"`
}

type pageFrame struct {
	ID       uint64
	Overflow uint32
	Data     []byte
}

type segmentFile struct {
	Header segmentHeader `cbor:"header"`
	Data   []byte        `cbor:"data"`
}

type segmentPayload struct {
	Header segmentHeader `cbor:"header"`
	Pages  []pageFrame   `cbor:"pages"`
}

type snapshotHeader struct {
	TxID        uint64    `cbor:"txId"`
	Magic       string    `cbor:"magic"`
	Version     uint16    `cbor:"version"`
	PageSize    int       `cbor:"pageSize"`
	CreatedAt   time.Time `cbor:"createdAt"`
	PageCount   uint64    `cbor:"pageCount"`
	Compression string    `cbor:"compression"`
}

type snapshotFile struct {
	Header snapshotHeader `cbor:"header"`
	Data   []byte         `cbor:"data"`
}

type report struct {
	Header  *segmentHeader `json:"header,omitempty"`
	TxID    uint64         `json:"txId"`
	Bytes   int            `json:"bytes"`
	Frames  [][2]uint64    `json:"frames,omitempty"`
	SHA256  string         `json:"sha256"`
	Created int64          `json:"created"`
}

func decompress(data []byte, codec string) ([]byte, error) {
	if codec == "none" {
		return data, nil
	}
	whole, err := zstd.NewReader(nil, zstd.WithDecoderMaxWindow(1<<29))
	if err != nil {
		return nil, err
	}
	defer whole.Close()
	raw, err := whole.DecodeAll(data, nil)
	if err != nil {
		return nil, err
	}
	streamed, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer streamed.Close()
	again, err := io.ReadAll(streamed)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(raw, again) {
		return nil, fmt.Errorf("zstd: whole and streamed differ")
	}
	return raw, nil
}

func readSegment(file []byte) (*report, error) {
	var segment segmentFile
	if err := cbor.Unmarshal(file, &segment); err != nil {
		return nil, err
	}
	if sum := crc64.Checksum(segment.Data, crc64.MakeTable(crc64.ISO)); sum != segment.Header.Checksum {
		return nil, fmt.Errorf("checksum %x, header says %x", sum, segment.Header.Checksum)
	}
	raw, err := decompress(segment.Data, segment.Header.Compression)
	if err != nil {
		return nil, err
	}
	var payload segmentPayload
	if err := cbor.Unmarshal(raw, &payload); err != nil {
		return nil, err
	}
	hash := sha256.New()
	result := &report{Header: &payload.Header, TxID: segment.Header.TxID, Created: segment.Header.CreatedAt.Unix()}
	for _, page := range payload.Pages {
		result.Frames = append(result.Frames, [2]uint64{page.ID, uint64(page.Overflow)})
		result.Bytes += len(page.Data)
		hash.Write(page.Data)
	}
	result.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return result, nil
}

func readSnapshot(file []byte) (*report, error) {
	var snapshot snapshotFile
	if err := cbor.Unmarshal(file, &snapshot); err != nil {
		return nil, err
	}
	raw, err := decompress(snapshot.Data, snapshot.Header.Compression)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &report{TxID: snapshot.Header.TxID, Bytes: len(raw), SHA256: hex.EncodeToString(sum[:]), Created: snapshot.Header.CreatedAt.Unix()}, nil
}

func read(kind, path string) (*report, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if kind == "snapshot" {
		return readSnapshot(file)
	}
	return readSegment(file)
}

func main() {
	var result any
	var err error
	switch {
	case len(os.Args) == 3:
		result, err = read(os.Args[1], os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "restore":
		result, err = restore(os.Args[2], os.Args[3])
	default:
		fmt.Fprintln(os.Stderr, "usage: goreader segment|snapshot FILE, or goreader restore ROOT OUT")
		os.Exit(2)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
