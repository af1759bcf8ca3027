package book

import (
	"time"
)

// MaxEntries limits each list of a report; the schema kojisnap has all entries.
const MaxEntries = 1000

// LoadReport says what a load did or, in a dry run, would do. Its order is stable. It is stored as JSON in
// kojisnap.run.
type LoadReport struct {
	Run      int64     `json:"run,omitempty"` // in the database's list of loads, 0 for a dry run
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Snapshot string    `json:"snapshot"`
	Event    int64     `json:"event"`          // E, the event to pin calls at
	Tags     []string  `json:"tags,omitempty"` // that the snapshot was asked for
	// LoadTags are what the load was asked for, if that were fewer tags than the snapshot has; Tags are the same then.
	LoadTags []string `json:"load_tags,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"`
	Rollback bool     `json:"rollback,omitempty"` // some of the tags stood at later events
	// Mode is "full" if all of the snapshot's rows were read, "delta" if only what changed since
	// Base, "skipped" if none, "import" after a full import.
	Mode string `json:"mode,omitempty"`
	// Base is the snapshot that the database held, where only what changed since was read.
	Base string `json:"base,omitempty"`
	// Waited is nil if the load could begin at once.
	Waited *Waited `json:"waited,omitempty"`
	// Skipped: the database holds this very snapshot and nothing was left out of it, so its rows were not read.
	Skipped bool `json:"skipped,omitempty"`

	Relations []RelationReport `json:"relations"` // those that are not all zero, in the catalogue's order
	Overlay   []OverlayChange  `json:"overlay,omitempty"`
	Touched   []string         `json:"touched,omitempty"`
	Conflicts []Entry          `json:"conflicts,omitempty"`
	LeftOut   []Entry          `json:"left_out,omitempty"`
	// Bad are the rows of LeftOut that are wrong themselves.
	Bad         []Entry  `json:"bad,omitempty"`
	Kept        []Entry  `json:"kept,omitempty"`
	Overwritten []Entry  `json:"overwritten,omitempty"` // rows of an adopted database that were not production's
	Notes       []string `json:"notes,omitempty"`

	// Decided is what DecidedBuilds gives after this load.
	Decided map[int64]string `json:"-"`
}

// RelationReport counts the rows of one relation.
type RelationReport struct {
	Relation    string `json:"relation"`
	Read        int64  `json:"read,omitempty"` // of the snapshot
	Inserted    int64  `json:"inserted,omitempty"`
	Updated     int64  `json:"updated,omitempty"`
	Revoked     int64  `json:"revoked,omitempty"`
	Unrevoked   int64  `json:"unrevoked,omitempty"`
	Deleted     int64  `json:"deleted,omitempty"`
	Kept        int64  `json:"kept,omitempty"`        // staging's own decision stays
	LeftOut     int64  `json:"left_out,omitempty"`    // rows that did not go in, conflicts included
	Conflicts   int64  `json:"conflicts,omitempty"`   // staging has their place
	Overwritten int64  `json:"overwritten,omitempty"` // of an adopted database, that were not production's
}

// Changed returns how many rows of Koji's table changed.
func (r RelationReport) Changed() int64 {
	return r.Inserted + r.Updated + r.Revoked + r.Unrevoked + r.Deleted
}

// OverlayChange is a change that the overlay made.
type OverlayChange struct {
	Action string `json:"action"` // add or remove
	Entry  string `json:"entry"`  // such as "user alice: permission admin"
}

// Add adds another relation's numbers.
func (r *RelationReport) Add(x RelationReport) {
	r.Read += x.Read
	r.Inserted += x.Inserted
	r.Updated += x.Updated
	r.Revoked += x.Revoked
	r.Unrevoked += x.Unrevoked
	r.Deleted += x.Deleted
	r.Kept += x.Kept
	r.LeftOut += x.LeftOut
	r.Conflicts += x.Conflicts
	r.Overwritten += x.Overwritten
}

// Totals returns how many rows were inserted, updated, and revoked or deleted.
func (r *LoadReport) Totals() (inserted, updated, gone int64) {
	var sum RelationReport
	for _, x := range r.Relations {
		sum.Add(x)
	}
	return sum.Inserted, sum.Updated + sum.Unrevoked, sum.Revoked + sum.Deleted
}

// Changed reports whether Koji's tables changed.
func (r *LoadReport) Changed() bool {
	for _, x := range r.Relations {
		if x.Changed() > 0 {
			return true
		}
	}
	return false
}

// Brief returns the report as it is stored: the numbers, and the first entries of each list.
func (r *LoadReport) Brief() *LoadReport {
	b := *r
	for _, l := range []*[]Entry{&b.Conflicts, &b.LeftOut, &b.Bad, &b.Kept, &b.Overwritten} {
		*l = (*l)[:min(len(*l), 10)]
	}
	b.Notes = b.Notes[:min(len(b.Notes), 10)]
	b.Touched = b.Touched[:min(len(b.Touched), 100)]
	b.Overlay = b.Overlay[:min(len(b.Overlay), 100)]
	return &b
}
