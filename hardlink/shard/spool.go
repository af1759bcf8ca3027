package shard

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
)

const (
	blockBits = 12
	// maxShard is how many bytes a shard's files have at most, unless it is a single build.
	maxShard = 500e9
	// spoolMemory is how much text waits in memory to be written, for all blocks together, and blockMemory for one. Rows
	// mostly come in the order of their builds: then one block alone grows at a time.
	spoolMemory = 24 << 20
	blockMemory = 1 << 20
)

// Spool takes the rows of a plan in any order, and writes the plan's files. It is for one goroutine. Its memory does not grow
// with the number of rows: rows wait in temporary files, one for each block of builds.
type Spool struct {
	dir     string // temporary, beside the plan's own
	final   string
	want    volumes.Want
	m       Manifest
	blocks  map[int64]*block
	waiting int // bytes
	encoder *zstd.Encoder
	line    []byte
	// MaxShard is the greatest number of bytes of a shard's files; 0: 500 GB.
	MaxShard int64
}

// block is the rows of 4096 build ids.
type block struct {
	text []byte
	rows int64
}

// Build adds a complete build.
func (s *Spool) Build(id int64, b volumes.Build) error {
	s.line = appendBuild(s.line[:0], id, b)
	return s.add(id, s.line)
}

// RPM adds an rpm of a build, with its signatures. Rows of builds that are not added count for nothing.
func (s *Spool) RPM(build, id int64, r *volumes.RPMFile) error {
	s.line = appendRPM(s.line[:0], id, r)
	return s.add(build, s.line)
}

// Archive adds an archive of a build.
func (s *Spool) Archive(build, id int64, a *volumes.ArchiveFile) error {
	s.line = appendArchive(s.line[:0], id, a)
	return s.add(build, s.line)
}

// add keeps a line for its build's block, with the build's id before it.
func (s *Spool) add(build int64, line []byte) error {
	if build < 0 {
		return fmt.Errorf("build %d: ids are not negative", build)
	}
	b := s.blocks[build>>blockBits]
	if b == nil {
		b = &block{}
		s.blocks[build>>blockBits] = b
	}
	before := cap(b.text)
	b.text = append(append(strconv.AppendInt(b.text, build, 10), ' '), line...)
	b.rows++
	s.waiting += cap(b.text) - before
	if len(b.text) >= blockMemory {
		return s.write(build>>blockBits, b)
	}
	if s.waiting > spoolMemory {
		return s.flush(len(b.text) / 2)
	}
	return nil
}

// flush writes the blocks whose text is longer than that of most.
func (s *Spool) flush(least int) error {
	total, n := 0, 0
	for _, b := range s.blocks {
		if len(b.text) > 0 {
			total += cap(b.text)
			n++
		}
	}
	least = min(least, total/max(1, n))
	for id, b := range s.blocks {
		if len(b.text) > 0 && cap(b.text) >= least {
			if err := s.write(id, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// write appends the text of a block to its file, as one zstd frame.
func (s *Spool) write(id int64, b *block) error {
	f, err := os.OpenFile(s.spooled(id), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(s.encoder.EncodeAll(b.text, nil))
	s.waiting -= cap(b.text)
	b.text = nil
	return errors.Join(err, f.Close())
}

func (s *Spool) spooled(id int64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%05d.rows", id))
}

// Abort removes what was written. After Finish it does nothing.
func (s *Spool) Abort() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
	s.dir = ""
}

// Finish writes the plan and gives it its name. Until then there is none.
func (s *Spool) Finish(ctx context.Context) (*Plan, error) {
	defer s.Abort()
	for _, id := range slices.Sorted(maps.Keys(s.blocks)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := s.blocks[id]
		if len(b.text) > 0 {
			if err := s.write(id, b); err != nil {
				return nil, err
			}
		}
		delete(s.blocks, id)
		if err := s.finish(id); err != nil {
			return nil, err
		}
	}
	if err := s.m.write(s.dir); err != nil {
		return nil, err
	}
	// A plan of this name that is there cannot be used: Open would have returned it.
	if err := os.RemoveAll(s.final); err != nil {
		return nil, err
	}
	if err := durable.Rename(s.dir, s.final); err != nil {
		return nil, err
	}
	s.dir = ""
	return &Plan{dir: s.final, Manifest: s.m}, nil
}

// row is a line of a block.
type row struct {
	build, id int64
	kind      byte
	line      []byte
}

// finish sorts the rows of one block and writes its shard files.
func (s *Spool) finish(id int64) error {
	text, err := s.read(id)
	if err != nil {
		return err
	}
	if err := os.Remove(s.spooled(id)); err != nil {
		return err
	}
	var rows []row
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n') + 1
		line := text[:end]
		text = text[end:]
		blank := bytes.IndexByte(line, ' ')
		r := row{line: line[blank+1:], kind: line[blank+1]}
		r.build, _ = strconv.ParseInt(string(line[:blank]), 10, 64) // we wrote it
		at := r.line[2:]
		r.id, _ = strconv.ParseInt(string(at[:bytes.IndexByte(at, '\t')]), 10, 64)
		rows = append(rows, r)
	}
	order := func(kind byte) int { return strings.IndexByte("BRA", kind) }
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.build, b.build), cmp.Compare(order(a.kind), order(b.kind)), cmp.Compare(a.id, b.id))
	})
	var builds [][]row // only builds that were added
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].build == rows[from].build {
			to++
		}
		if rows[from].kind == 'B' {
			builds = append(builds, rows[from:to])
		}
		from = to
	}
	if len(builds) == 0 {
		return nil
	}
	return s.shards(fmt.Sprintf("%05d", id), id<<blockBits, (id+1)<<blockBits, builds)
}

func (s *Spool) read(id int64) ([]byte, error) {
	f, err := os.Open(s.spooled(id))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(z)
}

// shards writes the shard of these builds, or those of its halves. Its builds' ids are from first up to and without end.
func (s *Spool) shards(name string, first, end int64, builds [][]row) error {
	if len(builds) == 0 {
		return nil
	}
	p := parser{}
	for _, rows := range builds {
		for _, r := range rows {
			if err := p.add(string(r.line[:len(r.line)-1])); err != nil {
				return err
			}
		}
	}
	sum, err := planned(s.want, p.builds, nil)
	if err != nil {
		return err
	}
	most := s.MaxShard
	if most == 0 {
		most = maxShard
	}
	if sum.Bytes > most && len(builds) > 1 && end-first > 1 {
		p.builds = nil
		middle := (first + end) / 2
		at, _ := slices.BinarySearchFunc(builds, middle, func(rows []row, id int64) int { return cmp.Compare(rows[0].build, id) })
		return cmp.Or(s.shards(name+"a", first, middle, builds[:at]), s.shards(name+"b", middle, end, builds[at:]))
	}
	digest := sha256.New()
	err = durable.WriteFile(filepath.Join(s.dir, name+".zst"), func(w io.Writer) error {
		s.encoder.Reset(w)
		buffered := bufio.NewWriterSize(io.MultiWriter(s.encoder, digest), 64<<10)
		fmt.Fprintf(buffered, "%s\t%d\n", magic, format)
		for _, rows := range builds {
			for _, r := range rows {
				buffered.Write(r.line)
			}
		}
		return cmp.Or(buffered.Flush(), s.encoder.Close())
	})
	if err != nil {
		return err
	}
	s.m.Shards = append(s.m.Shards, Info{ID: name, Builds: len(builds), Total: sum, Digest: hex.EncodeToString(digest.Sum(nil))})
	return nil
}
