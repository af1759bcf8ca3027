package ledger

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kojisnap/volumes"
)

// parse also returns where the last complete batch ends. The ledger's strings share the memory of text.
func parse(text string) (l *Ledger, good int, err error) {
	p := parser{Ledger: New()}
	header, rest, ok := strings.Cut(text, "\n")
	if !ok && (strings.HasPrefix(firstLine(Format), text) || strings.HasPrefix(firstLine(withoutShards), text)) {
		return p.Ledger, 0, nil // an earlier run was killed before it wrote a batch
	}
	magic, version, _ := strings.Cut(header, "\t")
	if magic != magicName {
		return nil, 0, fmt.Errorf("%w: begins with %.40q", ErrDamaged, header)
	}
	if p.format, err = strconv.Atoi(version); err != nil || p.format < 1 || p.format > Format {
		return nil, 0, fmt.Errorf("ledger has format %.20q, this kojisnap reads up to %d: a newer one is needed", version, Format)
	}
	good = len(header) + 1
	for len(rest) > 0 {
		// Only the last line of a batch begins like this.
		end := strings.Index(rest, "\n=\t") + 1
		if strings.HasPrefix(rest, "=\t") {
			end = 0
		} else if end == 0 {
			break // the rest is an incomplete batch
		}
		line, after, ok := strings.Cut(rest[end:], "\n")
		if !ok {
			break
		}
		lines := rest[:end]
		sealed := make(chan string, 1)
		go func() { sealed <- seal(lines) }()
		err := p.apply(lines)
		if line != <-sealed {
			return nil, 0, fmt.Errorf("%w: bytes %d to %d do not have the digest %.40q", ErrDamaged, good, good+end, line)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		good, rest = len(text)-len(after), after
	}
	return p.sorted(), good, nil
}

// seal returns the last line of a batch.
func seal(lines string) string {
	sum := sha256.New()
	var buf [32 << 10]byte
	for rest := lines; rest != ""; {
		n := copy(buf[:], rest)
		sum.Write(buf[:n])
		rest = rest[n:]
	}
	return "=\t" + strconv.Itoa(strings.Count(lines, "\n")) + "\t" + hex.EncodeToString(sum.Sum(nil)[:8])
}

type parser struct {
	*Ledger
	pool   []Entry  // memory for entries of builds
	linked []string // paths of K lines that no L line has counted yet
}

// fieldsOf is the number of fields of a line, by its first field.
var fieldsOf = [256]int{'B': 5, 'F': 5, 'S': 3, 'D': 2, 'N': 3, 'C': 1, 'U': 2, 'W': 1, 'R': 1, 'X': 1, 'K': 3, 'L': 2, 'k': 2, 'T': 2, 'G': 1}

func (p *parser) apply(lines string) error {
	var build *Build
	var dir string
	var fields [5]string
	for lines != "" {
		end := strings.IndexByte(lines, '\n')
		line := lines[:end]
		lines = lines[end+1:]
		n := 0
		for rest, more := line, true; more; n++ {
			if n == len(fields) {
				return fmt.Errorf("line %.80q has too many fields", line)
			}
			fields[n], rest, more = strings.Cut(rest, "\t")
		}
		if len(fields[0]) != 1 || n != fieldsOf[fields[0][0]] {
			return fmt.Errorf("line %.80q has %d fields", line, n)
		}
		kind := fields[0][0]
		if build == nil && strings.IndexByte("FSDNCUWRX", kind) >= 0 {
			return fmt.Errorf("line %.80q belongs to no build", line)
		}
		switch kind {
		case 'F', 'S', 'D', 'N', 'K':
			if err := volumes.CheckPath("path", fields[1]); err != nil {
				return err
			}
		}
		switch kind {
		case 'B':
			b := volumes.Build{Volume: fields[1], Name: fields[2], Version: fields[3], Release: fields[4]}
			var err error
			if dir, err = b.Dir(); err != nil {
				return err
			}
			if build = p.Builds[dir]; build == nil {
				build = &Build{Build: b}
				p.Builds[dir] = build
			}
		case 'F':
			size, err1 := strconv.ParseInt(fields[2], 10, 64)
			mtime, err2 := strconv.ParseInt(fields[3], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			p.add(build, Entry{Path: fields[1], Size: size, MTime: mtime, Digest: fields[4]})
		case 'S':
			p.add(build, Entry{Path: fields[1], Target: fields[2]})
		case 'N':
			p.add(build, Entry{Path: fields[1], Digest: fields[2], Absent: true})
		case 'D':
			below := fields[1] + "/"
			build.Entries = slices.DeleteFunc(build.Entries, func(e Entry) bool { return strings.HasPrefix(e.Path, below) })
		case 'C':
			build.Complete, build.Pending = true, false
		case 'U':
			var err error
			if build.Unwanted, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
				return err
			}
		case 'W':
			build.Unwanted = 0
		case 'R':
			build.Complete = false
		case 'X':
			delete(p.Builds, dir)
			build = nil
		case 'K':
			said := slices.DeleteFunc(p.Links[fields[1]], func(t string) bool { return t == fields[2] })
			p.Links[fields[1]] = append(said, fields[2])
			delete(p.Made, fields[1])
			p.linked = append(p.linked, fields[1])
		case 'L':
			n, err := strconv.Atoi(fields[1])
			if err != nil || n < 0 || n > len(p.linked) {
				return fmt.Errorf("line %.80q: there are %d symlinks before it", line, len(p.linked))
			}
			for _, path := range p.linked[len(p.linked)-n:] {
				if said := p.Links[path]; len(said) > 0 {
					p.Links[path], p.Made[path] = said[len(said)-1:], true
				}
			}
			p.linked = p.linked[:len(p.linked)-n]
		case 'T':
			p.Hub = fields[1]
		case 'G':
			p.Shards = true
		case 'k':
			delete(p.Links, fields[1])
			delete(p.Made, fields[1])
		}
	}
	return nil
}

// add appends an entry to a build. The entries grow in place as long as no other build's entries come
// between.
func (p *parser) add(b *Build, e Entry) {
	b.Pending = true
	if n := len(b.Entries); n > 0 {
		if at := len(p.pool) - n; at < 0 || len(p.pool) == cap(p.pool) || &p.pool[at] != &b.Entries[0] {
			b.Entries = append(b.Entries, e)
			return
		}
		p.pool = append(p.pool, e)
		b.Entries = p.pool[len(p.pool)-n-1 : len(p.pool) : len(p.pool)]
		return
	}
	if len(p.pool) == cap(p.pool) {
		p.pool = make([]Entry, 0, 4096)
	}
	p.pool = append(p.pool, e)
	b.Entries = p.pool[len(p.pool)-1 : len(p.pool) : len(p.pool)]
}

// sorted sorts each build's entries. If a complete build has two entries for a path, the later one counts.
func (p *parser) sorted() *Ledger {
	for _, b := range p.Builds {
		double := false
		for i := 1; i < len(b.Entries); i++ {
			c := cmp.Compare(b.Entries[i-1].Path, b.Entries[i].Path)
			if c > 0 {
				slices.SortStableFunc(b.Entries, ByPath)
				double = true // perhaps
				break
			}
			double = double || c == 0
		}
		if b.Pending || !double {
			continue
		}
		kept := b.Entries[:0]
		for _, e := range b.Entries {
			// Two archives of one name whose directories are unknown have two N lines.
			if n := len(kept); n > 0 && kept[n-1].Path == e.Path && !(kept[n-1].Absent && e.Absent && kept[n-1].Digest != e.Digest) {
				kept[n-1] = e
			} else {
				kept = append(kept, e)
			}
		}
		b.Entries = kept
	}
	return p.Ledger
}

// ByPath compares entries by their path.
func ByPath(a, b Entry) int { return cmp.Compare(a.Path, b.Path) }
