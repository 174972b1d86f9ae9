package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fxamacker/cbor/v2"
)

type restoreState struct {
	Generation   string
	Snapshot     *snapshotDescriptor
	Segments     []segmentDescriptor
	LastUploaded time.Time
}

type snapshotDescriptor struct {
	Name      string
	Timestamp time.Time
	Size      int64
}

type segmentDescriptor struct {
	Name      string
	FirstTxID uint64
	LastTxID  uint64
	Timestamp time.Time
	Size      int64
}

type restored struct {
	TxID     uint64 `json:"txId"`
	Segments int    `json:"segments"`
	Bytes    int64  `json:"bytes"`
}

// restore does what RestoreStandalone does with a file replica, and nothing more: it trusts _state.json, writes the snapshot, then every frame
// of every listed segment at its place, in order. No chain, no hash, no meta page of its own, no end of the file.
func restore(root, out string) (*restored, error) {
	text, err := os.ReadFile(filepath.Join(root, "_state.json"))
	if err != nil {
		return nil, err
	}
	var state restoreState
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, err
	}
	if state.Snapshot == nil {
		return nil, errors.New("no replica snapshots available")
	}
	header, image, err := snapshotAt(filepath.Join(root, state.Snapshot.Name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", state.Snapshot.Name, err)
	}
	file, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Write(image); err != nil {
		return nil, err
	}
	result := &restored{TxID: header.TxID, Segments: len(state.Segments)}
	for _, segment := range state.Segments {
		pages, err := pagesAt(filepath.Join(root, segment.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", segment.Name, err)
		}
		for _, page := range pages {
			if _, err := file.WriteAt(page.Data, int64(page.ID)*int64(header.PageSize)); err != nil {
				return nil, err
			}
		}
		result.TxID = segment.LastTxID
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	result.Bytes = info.Size()
	return result, file.Sync()
}

func snapshotAt(path string) (*snapshotHeader, []byte, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var snapshot snapshotFile
	if err := cbor.Unmarshal(file, &snapshot); err != nil {
		return nil, nil, err
	}
	raw, err := decompress(snapshot.Data, snapshot.Header.Compression)
	return &snapshot.Header, raw, err
}

func pagesAt(path string) ([]pageFrame, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var segment segmentFile
	if err := cbor.Unmarshal(file, &segment); err != nil {
		return nil, err
	}
	raw, err := decompress(segment.Data, segment.Header.Compression)
	if err != nil {
		return nil, err
	}
	var payload segmentPayload
	err = cbor.Unmarshal(raw, &payload)
	return payload.Pages, err
}
