package pull

import (
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/pull/scope"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/snapshot"
)

// Result says what a pull did.
type Result struct {
	Snapshot  string         `json:"snapshot,omitempty"` // its id; empty after a dry run
	Existing  bool           `json:"existing,omitempty"` // the store had this very snapshot
	Hub       string         `json:"hub"`
	Koji      string         `json:"koji_version"`
	Event     int64          `json:"event"`
	EventTime time.Time      `json:"event_time"`
	Scope     snapfile.Scope `json:"scope"`
	Base      string         `json:"base,omitempty"` // the earlier snapshot of the same hub and scope
	// ContentTags is the number of content tags in the scope, ModuleBuilds the number of module builds in
	// it. Each module build names a content tag.
	ContentTags  int `json:"content_tags"`
	ModuleBuilds int `json:"module_builds"`
	// Unmatched are the patterns of Tags that match no tag of production's at E.
	Unmatched []string `json:"unmatched,omitempty"`
	// Came and Went are the names of the tags that are in the scope and not in that of Base, and the
	// reverse.
	Came     []string           `json:"came,omitempty"`
	Went     []string           `json:"went,omitempty"`
	Rows     map[string]int64   `json:"rows"` // by relation; of a dry run only those that it counted
	Totals   snapfile.Totals    `json:"totals"`
	LeftOut  []snapfile.LeftOut `json:"left_out,omitempty"`
	Stripped []snapfile.LeftOut `json:"stripped,omitempty"` // rows without the credentials that their URLs have in production
	Plan     []pager.Estimate   `json:"plan,omitempty"`     // of a dry run
	Asked    hub.Stats          `json:"asked"`              // requests to the hub, and their cost
	// Incomplete are the builds asked for by name that are not complete in production.
	Incomplete []scope.IncompleteBuild `json:"incomplete,omitempty"`
	Source     *Source                 `json:"source,omitempty"` // nil: the hub was asked
	News       bool                    `json:"-"`                // some of Stripped are not in the last snapshot
	manifest   *snapfile.Manifest
	// ContentNews are the module builds whose content tag is missing now, and was not missing or not looked
	// for in Base.
	ContentNews []snapfile.Content `json:"-"`
}

// result returns the result of the pull.
func (r *run) result(m *snapfile.Manifest) *Result {
	result := NewResult(m, r.base)
	result.Incomplete, result.Unmatched = r.Incomplete, r.Found.Unmatched
	return result
}

// NewResult returns what a manifest says about a pull that continues base, nil for none. The manifest of a dry run
// has no relations.
func NewResult(m *snapfile.Manifest, base *snapfile.Snapshot) *Result {
	result := &Result{
		Hub: m.Hub, Koji: m.KojiVersion, Event: m.Event, EventTime: m.EventTime, Scope: m.Scope,
		Rows: map[string]int64{}, Totals: m.Totals, manifest: m,
	}
	for _, x := range m.LeftOut {
		if !x.Stripped() {
			result.LeftOut = append(result.LeftOut, x)
			continue
		}
		result.Stripped = append(result.Stripped, x)
		known := func(y snapfile.LeftOut) bool { return y.Stripped() && snapshot.Identity(&x) == snapshot.Identity(&y) }
		result.News = result.News || base == nil || !slices.ContainsFunc(base.Manifest.LeftOut, known)
	}
	if base != nil {
		result.Base = base.ID
		if m.Relations == nil { // a dry run
			result.Totals = base.Manifest.Totals
		}
	}
	result.tellScope(base)
	for _, rel := range m.Relations {
		result.Rows[rel.Name] = rel.Rows
	}
	return result
}

// tellScope adds the changes of the scope since the base to the result.
func (r *Result) tellScope(base *snapfile.Snapshot) {
	r.ContentTags, r.ModuleBuilds = len(r.Scope.ContentTags()), len(r.Scope.Content)
	var before snapfile.Scope
	if base != nil {
		before = base.Manifest.Scope
		r.Came, r.Went = tagsBeside(r.Scope, before), tagsBeside(before, r.Scope)
	}
	for _, c := range r.Scope.Content {
		if !c.Follows() && !slices.ContainsFunc(before.Content, c.Same) {
			r.ContentNews = append(r.ContentNews, c)
		}
	}
}

// Source describes what a pull read instead of a hub.
type Source struct {
	Kind string `json:"kind"` // "database", or "dump"
	// Wanted, Refused, Ignored and Unknown are how many tables of each class the source has.
	Wanted  int `json:"wanted"`
	Refused int `json:"refused"`
	Ignored int `json:"ignored"`
	Unknown int `json:"unknown"`
	// Tables are all of them, by name.
	Tables []SourceTable `json:"tables"`
}

// SourceTable is one table of a source.
type SourceTable struct {
	Name  string `json:"name"`
	Class string `json:"class"` // wanted, refused, ignored or unknown
	Rows  int64  `json:"rows"`  // that the source has of it; -1: unknown
}

// tagsBeside returns the names of the tags that one scope has and another one does not, by id, sorted.
func tagsBeside(s, other snapfile.Scope) []string {
	var names []string
	for _, t := range s.All {
		if !slices.ContainsFunc(other.All, func(o snapfile.Tag) bool { return o.ID == t.ID }) {
			names = append(names, t.Name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
