/*
Package pgdump reads a dump that pg_dump made of a Koji database as a dbsource.Source.

A dump is read once, and may come from a pipe. Each COPY block is projected to the columns of package relation's
catalogue as it passes, and only these are written, compressed, to temporary files without names: so no password,
session or principal is ever on disk. The scans then read these files. Of an archive (custom, tar or directory format)
one run of pg_restore gives the blocks of the tables that are wanted.

What compresses a dump, and which format it has, is found from its first bytes. Gzip and zstd are unpacked here, xz by
the program xz. Archives are read by pg_restore, which knows all formats of archives up to its own version.

A dump is read to its end, and must have one: what was cut off, or is still being written, is an error before
anything is made of it. Of a directory that holds for the files of the tables that are wanted.
*/
package pgdump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"kojisnap/kojisnap/dbsource"
	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Options say which dump is read.
type Options struct {
	Path    string    // a file, a directory of pg_dump -Fd, or - for Stdin
	Stdin   io.Reader // nil: the standard input
	TempDir string    // of temporary files; empty: the system's

	Log      *slog.Logger
	Progress progress.Progress
}

// Error says what is wrong with a dump, or with a program that is needed to read it.
type Error struct {
	Dump string // the path, or "standard input"
	Err  error
}

func (e *Error) Error() string {
	if e.Dump == "-" {
		return fmt.Sprintf("the dump on standard input %v", e.Err)
	}
	return fmt.Sprintf("dump %q %v", e.Dump, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// ErrMarked is wrapped by the error for the dump of a database that bears kojisnap's mark: it is a staging, and no
// production.
var ErrMarked = errors.New("is of a database that kojisnap marked as staging: give production's")

// Open opens a dump, and reads it to its end. An error about the dump
// is an *Error. It never has text of the dump in it but names of tables and columns.
func Open(ctx context.Context, o Options) (dbsource.Source, error) {
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Progress = progress.OrDiscard(o.Progress)
	src, err := open(ctx, o)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &Error{o.Path, err}
	}
	return src, nil
}

func open(ctx context.Context, o Options) (dbsource.Source, error) {
	in, err := openInput(ctx, o)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if in.format == formatArchive {
		return readArchive(ctx, o, in)
	}
	return readStream(ctx, o, in.r, in.estimate)
}

// contents collects what a dump has, by what passes or by an archive's list.
type contents struct {
	blocks  map[table]int64 // with rows: how many, -1 if not known
	created map[table]bool
}

func newContents() *contents { return &contents{map[table]int64{}, map[table]bool{}} }

// koji finds the schema of Koji's tables, and makes sure that there are rows of each that is wanted.
func (c *contents) koji() (schema string, err error) {
	if _, marked := c.blocks[table{"kojisnap", "mark"}]; marked || c.created[table{"kojisnap", "mark"}] {
		return "", ErrMarked
	}
	var schemas []string
	some := false // any table that could be Koji's
	for t := range c.all() {
		some = some || t.name == "rpmsigs" || t.name == "tag_listing" || t.name == "build_target"
		if t.name == "rpminfo" && !slices.Contains(schemas, t.schema) {
			schemas = append(schemas, t.schema)
		}
	}
	slices.Sort(schemas)
	switch {
	case len(schemas) == 0 && some:
		return "", errors.New("has no rows of rpminfo: made with --table, --exclude-table or --exclude-table-data?")
	case len(schemas) == 0:
		return "", errors.New("has no table rpminfo: is it of a Koji database?")
	case len(schemas) == 1:
		schema = schemas[0]
	case slices.Contains(schemas, "public"):
		schema = "public"
	default:
		return "", fmt.Errorf("has Koji's tables in the schemas %s: dump one, with --schema", strings.Join(schemas, ", "))
	}
	var missing []string
	for _, rel := range relation.All() {
		t := table{schema, rel.Name}
		if _, there := c.blocks[t]; !there && (rel.Format == 0 || c.created[t]) { // an older Koji may lack later relations
			missing = append(missing, rel.Name)
		}
	}
	if len(missing) > 0 {
		hint := "--exclude-table-data"
		if !c.created[table{schema, missing[0]}] {
			hint = "--table, --exclude-table or --exclude-table-data"
		}
		return "", fmt.Errorf("has no rows of %s: made with %s?", strings.Join(missing, ", "), hint)
	}
	return schema, nil
}

func (c *contents) all() map[table]bool {
	all := map[table]bool{}
	for t := range c.blocks {
		all[t] = true
	}
	for t := range c.created {
		all[t] = true
	}
	return all
}

// describe accounts for all tables.
func (c *contents) describe(schema string) *dbsource.Description {
	d := &dbsource.Description{Kind: snapfile.SourceDump, Columns: map[string][]string{}, Jobs: scans, Whole: true}
	for t := range c.all() {
		rows, known := c.blocks[t]
		if !known {
			rows = -1
		}
		one := dbsource.Table{Name: t.String(), Class: dbsource.Unknown, Rows: rows}
		if t.schema == schema {
			one.Name, one.Class = t.name, dbsource.Classify(t.name)
			if rel := relation.Get(t.name); rel != nil && rel.Optional && !known {
				one.Class = dbsource.Ignored // the dump was made without its rows
			}
		}
		d.Tables = append(d.Tables, one)
	}
	slices.SortFunc(d.Tables, func(a, b dbsource.Table) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(string(a.Class), string(b.Class)))
	})
	return d
}
