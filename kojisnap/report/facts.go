// Package report tells people how staging stands: whether it is ready and why not, what verify found, how syncs
// went, what the last one changed, what staging has of its own, and what all that costs. Facts are the same in
// three forms: JSON, text, and one HTML page that needs no script, no network and no other file.
package report

import (
	"encoding/json"
	"fmt"
	"time"

	"kojisnap/dbsync/status"
	"kojisnap/kojisnap"
	"kojisnap/kojisnap/secret"
	"kojisnap/kojisnap/verify"
)

// MaxRows limits each list of a report. What is beyond is counted.
const MaxRows = 10_000

// Facts is a report on one or several environments.
type Facts struct {
	Made         time.Time `json:"made"`
	Version      string    `json:"version"` // of kojisnap
	Environments []Env     `json:"environments"`
}

// Masked returns the facts without the credentials that URLs in them may have.
func (f *Facts) Masked() (*Facts, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	masked := new(Facts)
	if err := json.Unmarshal([]byte(secret.Hide(string(body))), masked); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return masked, nil
}

// Env is what is known of one environment.
type Env struct {
	Name    string           `json:"name"`
	Verdict kojisnap.Verdict `json:"verdict"`
	// StoreOnly: its database was not asked, or did not answer, and this is what the store has on record.
	StoreOnly bool `json:"store_only,omitempty"`
	// Troubles say what of the report could not be found out, and why.
	Troubles []string `json:"troubles,omitempty"`

	Database  string    `json:"database,omitempty"`
	Hub       string    `json:"hub,omitempty"`      // production's
	Snapshot  string    `json:"snapshot,omitempty"` // that the database holds
	Event     int64     `json:"event"`              // to pin composes at; 0: nothing was loaded yet, or not known
	EventTime time.Time `json:"event_time,omitzero"`
	History   int64     `json:"history"` // the first event that may be pinned
	// Success is when all was well the last time, as kojisnap status has it.
	Success time.Time            `json:"success,omitzero"`
	Drift   *kojisnap.Drift      `json:"drift,omitempty"`
	Events  []status.LoadedEvent `json:"events,omitempty"` // that may be pinned, too

	// Checked is when verify came to a result the last time; Checks are all of its checks then.
	Checked time.Time `json:"checked,omitzero"`
	Checks  []Cell    `json:"checks,omitempty"`

	Syncs []SyncPoint `json:"syncs,omitempty"` // the latest first
	// Every is how many seconds usually lie between the beginnings of two syncs; 0: too few syncs to tell.
	Every int64 `json:"every,omitempty"`
	// Overdue is how many syncs should have begun since the last one, by Every.
	Overdue int `json:"overdue,omitempty"`

	Changes *Changes    `json:"changes,omitempty"` // nil: not known
	Own     []Own       `json:"own,omitempty"`     // what is staging's own, by kind
	Files   Files       `json:"files"`
	Cost    Cost        `json:"cost"`
	Config  []ConfigKey `json:"config,omitempty"`
}

// Cell is one check of verify.
type Cell struct {
	Name    string        `json:"name"`
	Tag     string        `json:"tag,omitempty"`
	Arch    string        `json:"arch,omitempty"`
	Status  verify.Status `json:"status"`
	Count   int           `json:"count"` // things looked at
	Bad     int           `json:"bad"`
	Detail  string        `json:"detail,omitempty"`
	Cure    string        `json:"cure,omitempty"`    // of a check that is not ok
	Entries []string      `json:"entries,omitempty"` // all that is bad, or as many as are on record
}

// more is how many of the bad ones Entries lacks. Without any the detail says what is bad.
func (c *Cell) more() int {
	if len(c.Entries) == 0 {
		return 0
	}
	return max(0, c.Bad-len(c.Entries))
}

// SyncPoint is one sync of the history.
type SyncPoint struct {
	ID       int64     `json:"id"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Exit     int       `json:"exit"`
	Error    string    `json:"error,omitempty"`
	Event    int64     `json:"event,omitempty"`
	Rows     int64     `json:"rows"`     // that the load changed
	Bytes    int64     `json:"bytes"`    // of files that were made
	Requests int64     `json:"requests"` // to production's hub
	Received int64     `json:"received"` // bytes of its replies
	// Missed is how many syncs should have begun between this one and the one before, by Every.
	Missed int `json:"missed,omitempty"`
}

// Changes are the builds of wanted tags that differ between two snapshots: the one that the database holds, and the
// one before it. A build is in the first of New, Gone, Moved and Added that fits.
type Changes struct {
	From      string    `json:"from"` // snapshots
	To        string    `json:"to"`
	FromEvent int64     `json:"from_event"`
	FromTime  time.Time `json:"from_time"`
	Event     int64     `json:"event"`
	EventTime time.Time `json:"event_time"`
	New       BuildList `json:"new"`   // made since
	Gone      BuildList `json:"gone"`  // in no tag any longer
	Moved     BuildList `json:"moved"` // from tags to others
	Added     BuildList `json:"added"` // tagged, or taken out of some of their tags
}

// BuildList is a list of builds, the first MaxRows by name.
type BuildList struct {
	Total  int           `json:"total"`
	Builds []BuildChange `json:"builds,omitempty"`
}

// BuildChange says which tags a build came into and which it left.
type BuildChange struct {
	Build string   `json:"build"` // N-V-R
	Into  []string `json:"into,omitempty"`
	From  []string `json:"from,omitempty"`
}

// Own is one kind of what staging has of its own, and what follows from it.
type Own struct {
	Kind        string   `json:"kind"` // conflicts, hidden, decisions, kept, left out
	Consequence string   `json:"consequence"`
	Total       int      `json:"total"`
	Entries     []string `json:"entries,omitempty"` // the first MaxRows
}

// Files is what copies made, and where.
type Files struct {
	Topdir string `json:"topdir,omitempty"`
	// Builds, Copies and Bytes are of copies below topdir, as the ledger has them; hard links take no room.
	Builds int   `json:"builds"`
	Copies int   `json:"copies"`
	Bytes  int64 `json:"bytes"`
	Grace  int   `json:"grace"` // builds that no compose needs any longer, and that stay some time yet
	// Free and Room are the bytes of the file system of topdir: those that are left, and all.
	Free int64 `json:"free,omitempty"`
	Room int64 `json:"room,omitempty"`
	Last Made  `json:"last"` // by the last sync that copied
	All  Made  `json:"all"`  // by all syncs on record
}

// Made counts files by the way they were made.
type Made struct {
	Since      time.Time `json:"since,omitzero"` // when the first of the syncs began
	Hardlinked int64     `json:"hardlinked"`
	Reflinked  int64     `json:"reflinked"`
	Copied     int64     `json:"copied"`
	Spliced    int64     `json:"spliced"` // of a signature header and the unsigned rpm
	Fetched    int64     `json:"fetched"` // from a URL or a bucket
	Files      int64     `json:"files"`   // all of these; syncs of earlier versions recorded only this
	Bytes      int64     `json:"bytes"`
}

// Cost is what staging costs production.
type Cost struct {
	Last Asked `json:"last"` // by the last sync that pulled
	All  Asked `json:"all"`  // by all syncs on record
}

// Asked is what pulls asked of production's hub, and what copies fetched.
type Asked struct {
	Since    time.Time `json:"since,omitzero"` // when the first of the syncs began
	Pulls    int       `json:"pulls"`
	Requests int64     `json:"requests"`
	Rows     int64     `json:"rows"`
	Sent     int64     `json:"sent"`     // bytes of requests
	Received int64     `json:"received"` // bytes of replies
	Fetched  int64     `json:"fetched"`  // bytes of files from URLs and buckets
	Seconds  float64   `json:"seconds"`  // that the pulls took
}

// ConfigKey is a key of the configuration. Secrets are masked before it is made.
type ConfigKey struct {
	Section string `json:"section,omitempty"` // empty: the top level
	Key     string `json:"key"`
	Value   string `json:"value"`
	Origin  string `json:"origin,omitempty"`  // file and line, or the flag
	Default bool   `json:"default,omitempty"` // nothing set it
}

// Short returns the verdict's state in a word or two, for lists.
func (e *Env) Short() string {
	switch e.Verdict.State {
	case kojisnap.StateReady:
		return "ready"
	case kojisnap.StateNotReady:
		return "not ready"
	case kojisnap.StateUnproven:
		return "not proven"
	}
	return "unknown"
}
