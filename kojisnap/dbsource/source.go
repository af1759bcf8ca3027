package dbsource

import (
	"context"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// Source is a Koji database, as of one moment: every scan sees the same rows.
//
// A stream that can be read only once (a dump from a pipe) is no Source by itself: whoever reads it spools the
// columns that Wanted names into temporary files, accounts for each block (Classify), and offers the Source over
// these files.
type Source interface {
	// Describe says what the source is. It is called before the first Scan.
	Describe(ctx context.Context) (*Description, error)

	// Scan gives the rows of one table to fn. It asks only for tables and columns that Describe listed. A scan of
	// the same table may be asked for several times. Up to Description.Jobs scans may run at once; each calls fn
	// from one goroutine, and returns fn's error as it is.
	//
	// A row has one field for each column asked for, in that order: the text that COPY writes, unescaped, with nil
	// for NULL (ParseCopyLine makes that of a line). Booleans are t and f. Times may be in any time zone, with the
	// offset that tells which, or without one: then they are UTC. The row is valid during the call. The order of
	// rows does not matter.
	Scan(ctx context.Context, scan Scan, fn func(row [][]byte) error) error

	// Close gives up connections and temporary files.
	Close() error
}

// Scan is what Source.Scan is asked for.
type Scan struct {
	Table   string
	Columns []string

	// Where and Window are hints: they say which rows are of use. A source may leave out all others, and
	// should if that costs less than to give them. It may give them, too. It must not leave out a row that
	// satisfies all.
	Where  *Where
	Window *Window
	Range  *Range
}

// Where is satisfied by rows whose column holds one of the ids. NULL does not satisfy it.
type Where struct {
	Column string
	IDs    *roaring.Bitmap
}

// Range is satisfied by rows whose column holds an id from From to To, which is in it. NULL does not satisfy it.
type Range struct {
	Column   string
	From, To int64
}

// Window is satisfied by versioned rows that were created at Until or before, and that were not revoked, or
// revoked after Since.
type Window struct{ Since, Until int64 }

// Description is what a source is.
type Description struct {
	// Kind is what the manifest's field source has: "database", or "dump".
	Kind string
	// Columns are, by table, the columns that can be scanned: those of Wanted that the source has. A table that
	// is not there, or of which no column may be read, is not in the map.
	Columns map[string][]string
	// Tables accounts for each table that the source has, sorted by name.
	Tables []Table
	// Jobs is how many scans the source serves at once, at least 1.
	Jobs int
	// Whole says that a scan reads the whole table, whatever its hints are. If a source does not, and serves several
	// scans at once, a scan by a long list of ids is cut into several.
	Whole bool
}

// Table is one table of the source, and what becomes of it.
type Table struct {
	Name  string `json:"name"` // with its schema, unless that is Koji's
	Class Class  `json:"class"`
	// Rows is how many rows the source has, as far as it knows: a server's estimate, a dump's count. -1: unknown.
	Rows int64 `json:"rows"`
}

// Clock is implemented by a Source that knows when it is of: a server. All that committed before that time is in it.
// The margin is then counted from there, as it is from a hub's clock; else from the newest event.
type Clock interface {
	// Clock returns the time, zero if it is not known.
	Clock(ctx context.Context) (time.Time, error)
}

// LastEvents is implemented by a Source that finds events without a scan of all of them.
type LastEvents interface {
	// LastEvent returns the event with the highest id of those with a time before a time; the zero time is later
	// than all. There may be none: then the id is 0.
	LastEvent(ctx context.Context, before time.Time) (id int64, at time.Time, err error)
}

// Highest is implemented by a Source that finds the highest id in the first column of a table without a scan: then a
// large table is scanned in pieces, by several scans at once.
type Highest interface {
	// Highest returns the highest id of a column of a table, 0 for a table without rows.
	Highest(ctx context.Context, table, column string) (int64, error)
}
