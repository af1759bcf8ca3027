package shard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"kojisnap/volumes"
)

const (
	magic  = "kojisnap-shard"
	format = 1
)

// Build is a complete build of production with the rows of its files.
type Build struct {
	ID int64
	volumes.BuildFiles
}

// appendField appends a field, escaped, and what separates it from the one before.
func appendField(b []byte, field string) []byte {
	b = append(b, '\t')
	for {
		i := strings.IndexAny(field, "\\\t\n")
		if i < 0 {
			return append(b, field...)
		}
		b = append(append(b, field[:i]...), '\\', map[byte]byte{'\\': '\\', '\t': 't', '\n': 'n'}[field[i]])
		field = field[i+1:]
	}
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(append(b, '\t'), n, 10) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "\tt"...)
	}
	return append(b, "\tf"...)
}

func appendBuild(b []byte, id int64, v volumes.Build) []byte {
	b = appendInt(append(b, 'B'), id)
	for _, f := range [...]string{v.Name, v.Version, v.Release, v.Volume} {
		b = appendField(b, f)
	}
	return append(b, '\n')
}

func appendRPM(b []byte, id int64, r *volumes.RPMFile) []byte {
	b = appendInt(append(b, 'R'), id)
	for _, f := range [...]string{r.Name, r.Version, r.Release, r.Arch} {
		b = appendField(b, f)
	}
	b = appendBool(appendField(appendInt(b, r.Size), r.PayloadHash), r.MetadataOnly)
	for i := range r.Sigs {
		b = appendField(appendField(b, r.Sigs[i].Key), r.Sigs[i].Hash)
	}
	return append(b, '\n')
}

func appendArchive(b []byte, id int64, a *volumes.ArchiveFile) []byte {
	b = appendField(appendField(appendInt(append(b, 'A'), id), a.Path), a.BType)
	b = appendInt(appendField(appendInt(b, a.Size), a.Checksum), int64(a.ChecksumType))
	why := ""
	if a.Err != nil {
		why = a.Err.Error()
	}
	return append(appendField(appendBool(b, a.MetadataOnly), why), '\n')
}

// fieldsOf splits a line.
func fieldsOf(line string, fields []string) []string {
	fields = fields[:0]
	for {
		field, rest, more := strings.Cut(line, "\t")
		if strings.IndexByte(field, '\\') >= 0 {
			field = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n").Replace(field)
		}
		fields = append(fields, field)
		if !more {
			return fields
		}
		line = rest
	}
}

// parser makes builds of lines.
type parser struct {
	fields []string
	builds []Build
	err    error
}

func (p *parser) int(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && p.err == nil {
		p.err = err
	}
	return n
}

// add adds a line, without its end.
func (p *parser) add(line string) error {
	f := fieldsOf(line, p.fields)
	p.fields = f
	n := len(p.builds)
	switch {
	case f[0] == "B" && len(f) == 6:
		p.builds = append(p.builds, Build{ID: p.int(f[1]), BuildFiles: volumes.BuildFiles{Build: volumes.Build{Name: f[2], Version: f[3], Release: f[4], Volume: f[5]}}})
	case f[0] == "R" && len(f) >= 9 && len(f)%2 == 1 && n > 0:
		r := volumes.RPMFile{RPM: volumes.RPM{Name: f[2], Version: f[3], Release: f[4], Arch: f[5]}, Size: p.int(f[6]), PayloadHash: f[7], MetadataOnly: f[8] == "t"}
		for i := 9; i < len(f); i += 2 {
			r.Sigs = append(r.Sigs, volumes.Signature{Key: f[i], Hash: f[i+1]})
		}
		p.builds[n-1].RPMs = append(p.builds[n-1].RPMs, r)
	case f[0] == "A" && len(f) == 9 && n > 0:
		a := volumes.ArchiveFile{Path: f[2], BType: f[3], Size: p.int(f[4]), Checksum: f[5], ChecksumType: int(p.int(f[6])), MetadataOnly: f[7] == "t"}
		if f[8] != "" {
			a.Err = errors.New(f[8])
		}
		p.builds[n-1].Archives = append(p.builds[n-1].Archives, a)
	default:
		return fmt.Errorf("line %.80q", line)
	}
	if p.err != nil {
		return fmt.Errorf("line %.80q: %w", line, p.err)
	}
	return nil
}

// readFile reads a shard file with this digest.
func readFile(path, digest string) ([]Build, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReader(f), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	sum := sha256.New()
	lines := bufio.NewReaderSize(io.TeeReader(z, sum), 64<<10)
	head, err := lines.ReadString('\n')
	if err == nil || err == io.EOF {
		if name, version, _ := strings.Cut(strings.TrimSuffix(head, "\n"), "\t"); name != magic {
			return nil, damaged(path, fmt.Errorf("it begins with %.40q", head))
		} else if version != strconv.Itoa(format) {
			return nil, fmt.Errorf("%s: has format %.20q, this kojisnap reads %d", path, version, format)
		}
	}
	p := parser{}
	for err == nil {
		var line []byte
		if line, err = readLine(lines); err == nil {
			if bad := p.add(string(line)); bad != nil {
				return nil, damaged(path, bad)
			}
		}
	}
	if err != io.EOF {
		return nil, damaged(path, err)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != digest {
		return nil, damaged(path, fmt.Errorf("its digest is %s, the plan's manifest has %s", have, digest))
	}
	return p.builds, nil
}

// readLine reads a line of any length, without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	whole := bytes.Clone(line)
	for err == bufio.ErrBufferFull {
		line, err = r.ReadSlice('\n')
		whole = append(whole, line...)
	}
	if err == nil {
		return whole[:len(whole)-1], nil
	}
	if err == io.EOF && len(whole) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}
