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

// readArchive reads an archive as a stream: one run of pg_restore writes the rows of all tables that are wanted. It knows
// where these lie in a file or a directory, and reads over the others. A run for each table, as it is scanned, would need
// no temporary files; but it unpacks anew what is scanned several times, and an archive that was written to a pipe does
// not say where its tables begin.
func readArchive(ctx context.Context, o Options, in *input) (dbsource.Source, error) {
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
	if in.dir {
		if in.estimate, err = in.files(entries, schema); err != nil {
			return nil, err
		}
	}
	if in.tar {
		if err := in.whole(ctx, entries); err != nil {
			return nil, err
		}
	}
	p, err := start(ctx, in.restore(entries, schema, stdin, &seen))
	if err != nil {
		return nil, err
	}
	defer p.stop()
	defer in.cancel() // before: the program may wait for input
	var text io.Reader = p
	if in.path != "" { // nothing else of it is read here
		bar := o.Progress.Begin("unpack", -1)
		defer bar.End()
		text = &counted{text, bar}
	}
	s, err := readStream(ctx, o, ahead(ctx, text), in.estimate)
	if err != nil {
		return nil, explain(ctx, in, err)
	}
	s.account(found.describe(schema))
	if in.path != "" {
		return s, nil
	}
	if _, err := io.Copy(io.Discard, in.r); err != nil {
		s.Close()
		return nil, fmt.Errorf("is damaged after its last table: %w", err)
	}
	return s, nil
}

// whole makes sure that a tar is not cut off, by its last table alone. Asked for several tables of one that is, pg_restore
// 15 may read on for ever.
func (in *input) whole(ctx context.Context, entries []entry) error {
	if len(entries) == 0 {
		return nil
	}
	last := entries[len(entries)-1]
	p, err := start(ctx, program{"pg_restore", []string{"--data-only", "--file=-", "--schema=" + last.schema, "--table=" + last.name, in.path}, nil, noRestore})
	if err != nil {
		return err
	}
	defer p.stop()
	if _, err := io.Copy(io.Discard, p); err != nil {
		return explain(ctx, in, err)
	}
	return nil
}

// restore is the run of pg_restore that writes the rows of the wanted tables.
func (in *input) restore(entries []entry, schema string, stdin io.Reader, seen *bytes.Buffer) program {
	args := []string{"--data-only", "--file=-"}
	for i, e := range entries {
		// In a file tables are one behind the other: the last one, whatever it is, is whole only if the file is.
		if in.wants(e, schema) || i == len(entries)-1 && !in.dir {
			args = append(args, "--table="+e.name)
		}
	}
	if in.path != "" {
		return program{"pg_restore", append(args, in.path), nil, noRestore}
	}
	return program{"pg_restore", args, io.MultiReader(seen, in.r), noRestore}
}

func (in *input) wants(e entry, schema string) bool {
	return e.schema == schema && dbsource.Classify(e.name) == dbsource.Wanted
}

// files makes sure that a directory has the files of the wanted tables, and returns how large they are. pg_restore
// reads them to their ends. The others may be missing, or be cut off: their tables are not read, and the directory's list does not
// say how large they ought to be.
func (in *input) files(entries []entry, schema string) (size int64, err error) {
	var missing []string
	for _, e := range entries {
		if !in.wants(e, schema) {
			continue
		}
		there := slices.ContainsFunc([]string{"", ".gz", ".zst", ".lz4"}, func(packed string) bool {
			info, err := os.Stat(filepath.Join(in.path, fmt.Sprintf("%d.dat%s", e.id, packed)))
			if err == nil {
				size += info.Size()
			}
			return err == nil
		})
		if !there {
			missing = append(missing, fmt.Sprintf("%d.dat (%s)", e.id, e.name))
		}
	}
	if len(missing) > 0 {
		return 0, fmt.Errorf("is a directory that lacks files: %s", strings.Join(missing, ", "))
	}
	return size / 2, nil
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
