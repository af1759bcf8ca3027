package pgdump

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kojisnap/kojisnap/dbsource"
)

const noRestore = "is an archive, which needs the program pg_restore: install PostgreSQL's client, of the version of the pg_dump that made it or newer"

// releases are the versions of archives, by the release of PostgreSQL that brought them.
var releases = map[string]string{"1.14": "12", "1.15": "16", "1.16": "17"}

// entry is a line of an archive's list that stands for rows of a table.
type entry struct {
	table
	id int
}

// list asks pg_restore what an archive has: the rows of which tables, in their order, and which tables are made.
func list(ctx context.Context, in *input, stdin io.Reader) (entries []entry, found *contents, err error) {
	args := []string{"-l"}
	if stdin == nil {
		args = append(args, in.path)
	}
	p, err := start(ctx, program{"pg_restore", args, stdin, noRestore})
	if err != nil {
		return nil, nil, err
	}
	defer p.stop()
	found = newContents()
	lines := bufio.NewScanner(p)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		// 4260; 0 1685187 TABLE DATA public archive_components postgres
		id, rest, _ := strings.Cut(lines.Text(), "; ")
		f := strings.Fields(rest)
		n, err := strconv.Atoi(id)
		switch {
		case err != nil || len(f) < 5 || f[2] != "TABLE":
		case f[3] == "DATA" && len(f) > 5:
			t := table{f[4], f[5]}
			if _, twice := found.blocks[t]; !twice { // with --load-via-partition-root
				found.blocks[t] = -1
			}
			entries = append(entries, entry{t, n})
		case f[3] != "ATTACH":
			found.created[table{f[3], f[4]}] = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, explain(ctx, in, err)
	}
	return entries, found, nil
}

// explain says why pg_restore failed.
func explain(ctx context.Context, in *input, err error) error {
	var failed *programError
	if !errors.As(err, &failed) {
		return err
	}
	if strings.Contains(failed.text, "unsupported version") {
		release := "a newer PostgreSQL"
		if r := releases[in.version]; r != "" {
			release = "PostgreSQL " + r + " or newer"
		}
		own := "pg_restore"
		if out, err := exec.CommandContext(ctx, "pg_restore", "--version").Output(); err == nil {
			own = strings.Join(strings.Fields(strings.Replace(string(out), "(PostgreSQL)", "", 1)), " ")
		}
		return fmt.Errorf("is an archive of version %s, made by pg_dump of %s, and %s is too old for it: put a newer pg_restore first in PATH", in.version, release, own)
	}
	if strings.Contains(failed.text, "end of file") || strings.Contains(failed.text, "too short") {
		return fmt.Errorf("ends too early: it was cut off, or is still being written: %w", err)
	}
	return fmt.Errorf("cannot be read: %w", err)
}

// archive is an archive in files: a dbsource.Source that asks pg_restore for a table at a time.
type archive struct {
	in     *input
	schema string
	desc   *dbsource.Description
	slots  chan struct{}
	mu     sync.Mutex // of desc.Tables
}

// openArchive opens an archive in files. It returns nil if that does not say which columns its tables have.
func openArchive(ctx context.Context, o Options, in *input) (dbsource.Source, error) {
	entries, found, err := list(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	schema, err := found.koji()
	if err != nil {
		return nil, err
	}
	a := &archive{in: &input{path: in.path, dir: in.dir, version: in.version, cancel: func() {}}, schema: schema, desc: found.describe(schema), slots: make(chan struct{}, 1)}
	if err := a.complete(ctx, entries); err != nil {
		return nil, err
	}
	if err := a.columns(ctx); err != nil {
		return nil, err
	}
	for _, t := range a.desc.Tables {
		if t.Class == dbsource.Wanted && a.desc.Columns[t.Name] == nil {
			return nil, nil
		}
	}
	o.Log.InfoContext(ctx, "reading the archive", "version", in.version, "schema", schema, "tables", len(entries))
	return a, nil
}

// complete makes sure that nothing is missing at the archive's end, or of a directory's files.
func (a *archive) complete(ctx context.Context, entries []entry) error {
	if !a.in.dir {
		// Blocks are one behind the other, so the last one is whole only if the file is.
		if len(entries) == 0 {
			return nil
		}
		last := entries[len(entries)-1]
		p, err := start(ctx, program{"pg_restore", a.restoreArgs(last.table), nil, noRestore})
		if err != nil {
			return err
		}
		defer p.stop()
		if _, err := io.Copy(io.Discard, p); err != nil {
			return explain(ctx, a.in, err)
		}
		return nil
	}
	var missing []string
	for _, e := range entries {
		if e.schema != a.schema || dbsource.Classify(e.name) != dbsource.Wanted {
			continue
		}
		there := slices.ContainsFunc([]string{"", ".gz", ".zst", ".lz4"}, func(packed string) bool {
			_, err := os.Stat(filepath.Join(a.in.path, fmt.Sprintf("%d.dat%s", e.id, packed)))
			return err == nil
		})
		if !there {
			missing = append(missing, fmt.Sprintf("%d.dat (%s)", e.id, e.name))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("is a directory that lacks files: %s", strings.Join(missing, ", "))
	}
	return nil
}

// columns reads which columns the tables have, of the statements that make them.
func (a *archive) columns(ctx context.Context) error {
	args := []string{"--schema-only", "--file=-", "--schema=" + a.schema}
	for _, t := range a.desc.Tables {
		if t.Class == dbsource.Wanted {
			args = append(args, "--table="+t.Name)
		}
	}
	p, err := start(ctx, program{"pg_restore", append(args, a.in.path), nil, noRestore})
	if err != nil {
		return err
	}
	defer p.stop()
	w := newWalk(p)
	w.rows = func(b block) (func([]byte) error, error) { return nil, nil }
	w.created = func(t table, columns []string) {
		if t.schema != a.schema {
			return
		}
		if _, names := wantedOf(columns, dbsource.WantedColumns(t.name)); len(names) > 0 {
			a.desc.Columns[t.name] = names
		}
	}
	return explain(ctx, a.in, w.run(ctx))
}

// restoreArgs are the arguments by which pg_restore writes the rows of one table.
func (a *archive) restoreArgs(t table) []string {
	return []string{"--data-only", "--file=-", "--schema=" + t.schema, "--table=" + t.name, a.in.path}
}

// Describe implements dbsource.Source.
func (a *archive) Describe(context.Context) (*dbsource.Description, error) { return a.desc, nil }

// Close implements dbsource.Source.
func (a *archive) Close() error { return nil }

// Scan implements dbsource.Source.
func (a *archive) Scan(ctx context.Context, scan dbsource.Scan, fn func(row [][]byte) error) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	}
	if _, names := wantedOf(a.desc.Columns[scan.Table], scan.Columns); len(names) != len(scan.Columns) {
		return fmt.Errorf("columns %q of table %s are not to be read", scan.Columns, scan.Table)
	}
	wanted := table{a.schema, scan.Table}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := start(ctx, program{"pg_restore", a.restoreArgs(wanted), nil, noRestore})
	if err != nil {
		return &Error{a.in.path, err}
	}
	defer p.stop()
	w := newWalk(ahead(ctx, p))
	there := false
	var failed error // fn's
	w.rows = func(b block) (func([]byte) error, error) {
		if b.table != wanted {
			return nil, nil
		}
		there = true
		sel, err := newSelection(b.columns, scan, func(row [][]byte) error {
			failed = fn(row)
			return failed
		})
		if err != nil {
			return nil, err
		}
		return func(line []byte) error {
			err := sel.line(line)
			if err != nil && failed == nil {
				err = damaged(w, b, err)
			}
			return err
		}, nil
	}
	w.done = func(b block, rows int64) error {
		a.count(b, rows)
		return nil
	}
	err = w.run(ctx)
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return &Error{a.in.path, explain(ctx, a.in, err)}
	case !there:
		return &Error{a.in.path, fmt.Errorf("has no rows of %s", scan.Table)}
	}
	return nil
}

// count notes how many rows a table has.
func (a *archive) count(b block, rows int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.desc.Tables {
		if t := &a.desc.Tables[i]; b.schema == a.schema && t.Name == b.name {
			t.Rows = rows
		}
	}
}

// readArchiveStream reads an archive once, from a pipe or because that is the only way to learn its columns.
func readArchiveStream(ctx context.Context, o Options, in *input) (dbsource.Source, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stdin io.Reader
	var seen bytes.Buffer
	if in.path == "" {
		// pg_restore ends as soon as it has read the list; the archive begins anew after that.
		stdin = io.TeeReader(in.r, &seen)
	}
	entries, found, err := list(ctx, in, stdin)
	if err != nil {
		return nil, err
	}
	schema, err := found.koji()
	if err != nil {
		return nil, err
	}
	args := []string{"--data-only", "--file=-"}
	for i, e := range entries {
		// The last one is whole only if the archive is.
		if e.schema == schema && dbsource.Classify(e.name) == dbsource.Wanted || i == len(entries)-1 {
			args = append(args, "--table="+e.name)
		}
	}
	if in.path != "" {
		args = append(args, in.path)
		stdin = nil
	} else {
		stdin = io.MultiReader(&seen, in.r)
	}
	p, err := start(ctx, program{"pg_restore", args, stdin, noRestore})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	defer in.cancel() // before: the program may wait for input
	s, err := readStream(ctx, o, ahead(ctx, p), in.estimate)
	if err != nil {
		return nil, explain(ctx, in, err)
	}
	s.account(found.describe(schema))
	if _, err := io.Copy(io.Discard, in.rest(stdin)); err != nil {
		s.Close()
		return nil, fmt.Errorf("is damaged after its last table: %w", err)
	}
	return s, nil
}

// rest is what nobody read of a stream.
func (in *input) rest(stdin io.Reader) io.Reader {
	if stdin == nil {
		return strings.NewReader("")
	}
	return in.r
}

// account adds the tables that only the archive's list has.
func (s *stream) account(all *dbsource.Description) {
	for i, t := range all.Tables {
		for _, read := range s.desc.Tables {
			if read.Name == t.Name && read.Class == t.Class {
				all.Tables[i].Rows = read.Rows
			}
		}
	}
	s.desc.Tables = all.Tables
}
