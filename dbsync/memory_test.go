package dbsync_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"sync"
)

// memory is a store in memory.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (m *memory) put(_ context.Context, name string, src io.ReadSeeker) error {
	body, err := io.ReadAll(src)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = body
	return err
}

func (m *memory) get(_ context.Context, name string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.objects[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}
