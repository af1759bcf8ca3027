package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"kojisnap/cmd/kojisnap/config"
	"kojisnap/cmd/kojisnap/exit"
	"kojisnap/cmd/kojisnap/flags"
	"kojisnap/cmd/kojisnap/output"
	"kojisnap/cmd/kojisnap/tell"
	"kojisnap/dbsync/book"
	"kojisnap/dbsync/dbconn"
	"kojisnap/dbsync/status"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
)

var diffCommand = command{
	name: "diff", args: "A B|staging",
	short: "compare two snapshots, or staging with production",
	long: `Diff counts, relation by relation, the rows that only snapshot B has (added), those that only snapshot A has
(removed), and those that both have but that are not equal (changed). It identifies rows by their relation's
key. With --rows it prints the rows themselves, in the order of their keys: + added, - removed, and for
changed rows the columns that differ. With --rows --json each row is an object, on a line of its own within the
document.

"kojisnap diff staging" asks the staging database instead. Wherever staging's own change overrules production's,
for each tagging, tag, target, owner, group and so on, it prints what production has, what staging has, and who
changed it when; then the builds and other rows that staging changed in place. Calls that are pinned at a loaded
event answer as production does, regardless of all these.`,
	examples: `
kojisnap diff staging -c stg.toml
kojisnap diff 390-0123456789ab latest --store /var/lib/kojisnap
kojisnap diff 390-0123456789ab 419-0123456789ab -c stg.toml --rows
kojisnap diff 390-0123456789ab latest -c stg.toml --json`,
	setup: func(f *config.Flags) runner {
		var o diffFlags
		f.Section("diff", nil, o.add)
		return o.run
	},
}

type diffFlags struct {
	rows       bool
	db         string
	verifyKeys []string
}

func (o *diffFlags) add(fs *pflag.FlagSet) {
	flags.AddDB(fs, &o.db)
	flags.AddVerifyKey(fs, &o.verifyKeys)
	fs.BoolVar(&o.rows, "rows", false, "print the rows that differ, not only their numbers")
}

func (o *diffFlags) run(ctx context.Context, a *app, args []string) error {
	if len(args) == 1 && args[0] == "staging" && !o.rows {
		return o.staging(ctx, a)
	}
	if len(args) != 2 {
		return exit.Usagef("diff wants the ids of two snapshots, or latest for one of them; or staging alone, without --rows")
	}
	if err := a.useKeys("", o.verifyKeys); err != nil {
		return err
	}
	s, err := a.openStore(false)
	if err != nil {
		return err
	}
	var snaps [2]*snapfile.Snapshot
	for i, id := range args {
		if snaps[i], err = a.lookAt(ctx, s, id); err != nil {
			return err
		}
	}
	if !o.rows {
		r, err := repository.Diff(ctx, snaps[0], snaps[1], nil)
		if err != nil {
			return err
		}
		return a.result(r, func(w io.Writer) { tell.WriteDiff(w, r) })
	}
	return reporter{a}.showRows(func(each func(repository.RowDiff) error) error {
		_, err := repository.Diff(ctx, snaps[0], snaps[1], each)
		return err
	})
}

// showRows writes rows as it reads them: there may be more than memory can hold.
func (a reporter) showRows(rows func(each func(repository.RowDiff) error) error) error {
	out := bufio.NewWriter(a.stdout)
	if !a.json {
		err := rows(func(d repository.RowDiff) error { return rowText(out, d) })
		return cmp.Or(out.Flush(), err)
	}
	if err := a.document.Open(a.stdout, struct{}{}); err != nil {
		return err
	}
	const none = ",\n  \"rows\": ["
	before := none
	var row bytes.Buffer
	enc := json.NewEncoder(&row)
	enc.SetEscapeHTML(false)
	err := rows(func(d repository.RowDiff) error {
		row.Reset()
		if err := enc.Encode(rowOf(d)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s\n    %s", before, bytes.TrimSpace(row.Bytes()))
		before = ","
		return err
	})
	if before == none {
		fmt.Fprint(out, none)
	}
	fmt.Fprint(out, "\n  ]")
	return cmp.Or(out.Flush(), err)
}

// stagingDiff says where staging overrules production.
type stagingDiff struct {
	Event     int64             `json:"event"`     // the event that the database holds
	Decisions []status.Decision `json:"decisions"` // by subject
	Kept      []book.Entry      `json:"kept"`      // rows that Koji edits in place
}

func (o *diffFlags) staging(ctx context.Context, a *app) error {
	if err := a.checkDSN(o.db); err != nil {
		return err
	}
	conn, err := dbconn.Connect(ctx, o.db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s, err := status.Read(ctx, conn)
	if err == nil {
		err = a.checkEnv(s.Mark)
	}
	if err == nil {
		err = s.CheckWhole()
	}
	if err != nil {
		return err
	}
	return a.result(stagingDiff{s.Event, s.Decisions, s.Kept}, func(w io.Writer) {
		for _, d := range s.Decisions {
			fmt.Fprintln(w, output.Clean(d.String()))
		}
		for _, e := range s.Kept {
			fmt.Fprintln(w, output.Clean(fmt.Sprintf("%s %s: %s", e.Relation, e.Key, e.What)))
		}
	})
}

// rowText returns a row as a line: all columns of an added or removed row, the key and the columns that differ of a
// changed one.
func rowText(w *bufio.Writer, d repository.RowDiff) error {
	sign, row := "~", d.B
	switch {
	case d.A == nil:
		sign = "+"
	case d.B == nil:
		sign, row = "-", d.A
	}
	fmt.Fprintf(w, "%s %s", sign, d.Relation.Name)
	for i := range d.Relation.Columns {
		name := d.Relation.Columns[i].Name
		switch {
		case sign != "~" || isKey(d.Relation, i):
			fmt.Fprintf(w, " %s=%s", name, valueText(row[i]))
		case !sameField(d.A[i], d.B[i]):
			fmt.Fprintf(w, " %s=%s→%s", name, valueText(d.A[i]), valueText(d.B[i]))
		}
	}
	return w.WriteByte('\n')
}

// rowsResult is the form of a document of rows. showRows writes it row by row.
type rowsResult struct {
	Rows []differentRow `json:"rows"`
}

// differentRow is a row that only A or B has, or that differs. Values are as PostgreSQL writes them.
type differentRow struct {
	Relation string               `json:"relation"`
	Change   string               `json:"change"` // added, removed, changed
	Key      map[string]string    `json:"key"`
	Columns  map[string]*string   `json:"columns,omitempty"` // the others of a row that one of them has
	Changed  map[string]twoValues `json:"changed,omitempty"` // those that differ in a row that both have
}

type twoValues struct {
	A *string `json:"a"`
	B *string `json:"b"`
}

func rowOf(d repository.RowDiff) differentRow {
	line := differentRow{Relation: d.Relation.Name, Key: map[string]string{}, Columns: map[string]*string{}, Changed: map[string]twoValues{}}
	row := d.B
	switch {
	case d.A == nil:
		line.Change = "added"
	case d.B == nil:
		line.Change, row = "removed", d.A
	default:
		line.Change = "changed"
	}
	for i := range d.Relation.Columns {
		name := d.Relation.Columns[i].Name
		switch {
		case isKey(d.Relation, i):
			line.Key[name] = string(row[i])
		case line.Change != "changed":
			line.Columns[name] = text(row[i])
		case !sameField(d.A[i], d.B[i]):
			line.Changed[name] = twoValues{text(d.A[i]), text(d.B[i])}
		}
	}
	return line
}

func isKey(rel *relation.Relation, column int) bool {
	for _, k := range rel.KeyIndexes() {
		if k == column {
			return true
		}
	}
	return false
}

func sameField(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

// text returns a field for JSON, where NULL is null.
func text(field []byte) *string {
	if field == nil {
		return nil
	}
	s := string(field)
	return &s
}

// valueText returns a field for a line of words, quoted unless it is one word.
func valueText(field []byte) string {
	if field == nil {
		return "NULL"
	}
	s := string(field)
	plain := s != "" && s != "NULL"
	for _, c := range s {
		plain = plain && (c == '-' || c == '+' || c == '.' || c == '_' || c == ':' || c == '/' || c == '@' ||
			c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	}
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}
