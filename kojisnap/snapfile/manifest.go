package snapfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/relation"
)

const (
	formatName    = "kojisnap-snapshot"
	formatVersion = 5 // the newest for the fields of a manifest; relations have their own in the catalogue

	// MaxManifest limits how much memory a damaged store can make a reader use.
	MaxManifest = 64 << 20
)

// Manifest describes one snapshot. It is written last: without it a snapshot does not exist.
type Manifest struct {
	Format  string `json:"format"`
	Version int    `json:"version"`

	Hub         string    `json:"hub"`          // URL of the hub that was read
	KojiVersion string    `json:"koji_version"` // of that hub
	Event       int64     `json:"event"`        // E
	EventTime   time.Time `json:"event_time"`   // when E happened, by the hub's clock
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by"` // kojisnap and its version
	// Source is what was read if it was not the hub: "database", or "dump". Hub then says which production that is.
	Source string `json:"source,omitempty"`

	Scope  Scope  `json:"scope"`
	Parent string `json:"parent,omitempty"` // the snapshot whose segments this one builds on
	Chain  int    `json:"chain,omitempty"`  // how many snapshots came before it, each the parent of the next

	Relations []Relation `json:"relations"` // in the catalogue's order, optional ones last
	LeftOut   []LeftOut  `json:"left_out,omitempty"`
	Totals    Totals     `json:"totals"`
}

// What Manifest.Source names.
const (
	SourceDatabase = "database"
	SourceDump     = "dump"
)

// Has reports whether the snapshot has the column: its version has it, and so does the hub's Koji. Otherwise
// the snapshot's rows have a default.
func (m *Manifest) Has(c relation.Column) bool {
	if m.Version > 0 && m.Version < c.Format {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(m.KojiVersion, "%d.%d", &major, &minor); err != nil {
		return true
	}
	return major > 1 || relation.Release(minor) >= c.Since
}

// HasRelation reports whether the snapshot's version has the relation and, if it is optional, the snapshot itself.
// If not, that the snapshot has no rows of it says nothing about production.
func (m *Manifest) HasRelation(r *relation.Relation) bool {
	if r.Optional {
		return slices.ContainsFunc(m.Relations, func(has Relation) bool { return has.Name == r.Name })
	}
	return m.Version == 0 || m.Version >= r.Format
}

// Current reports whether the snapshot's version has all relations and columns of this program's catalogue, except
// for optional ones.
// No pull continues a snapshot without them, as it knows nothing about what is missing.
func (m *Manifest) Current() bool { return m.Version >= relation.Current().Newest() || m.Version == 0 }

// Scope says what was asked for, and which tags and builds that gave.
type Scope struct {
	Tags []string `json:"tags"` // the tags asked for, sorted; for patterns, the tags that matched at E
	// Asked has the names and patterns as asked for, sorted, if they differ from Tags.
	Asked []string `json:"asked,omitempty"`
	All   []Tag    `json:"all"` // with everything that they inherit at E, and with content tags, sorted by id
	// Content has the content tags of module builds; nil: they were not looked for, or there is no module.
	Content []Content `json:"content,omitempty"`
	// Builds are the builds asked for by name besides the tags; sorted by id.
	Builds []NamedBuild `json:"builds,omitempty"`
	// Everything: the whole catalogue was asked for, not some tags. All has all tags that exist at E or were deleted
	// since the history of the snapshot begins; Tags, Asked, Content and Builds are empty. See FORMAT.md.
	Everything bool `json:"everything,omitempty"`
}

// Tag is a tag of the scope.
type Tag struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	// History is the event from which on the snapshot has everything that the tag had: the view at E, and
	// each row that was revoked after this event. 0: not recorded, as in snapshots of earlier versions; see
	// Manifest.HistoryFrom.
	History int64 `json:"history,omitempty"`
}

// Relation is one relation of a snapshot.
type Relation struct {
	Name     string    `json:"name"`
	Columns  []string  `json:"columns"`
	Key      []string  `json:"key"`
	Rows     int64     `json:"rows"` // in the view at E
	Segments []Segment `json:"segments,omitempty"`
	// Revoked are rows of a versioned relation with their true revoke_event: those that were revoked up to
	// E, and after the event of an earlier snapshot of the same hub or after the event from which history
	// was asked for. They may have layers, as Segments. For the relation build they are builds that an
	// earlier snapshot had as complete and that are neither complete nor in the view now: they were reset or
	// deleted.
	Revoked []Segment `json:"revoked,omitempty"`
}

// Totals are sums over the segments.
type Totals struct {
	Rows       int64 `json:"rows"`
	Bytes      int64 `json:"bytes"`
	Compressed int64 `json:"compressed"`
	Segments   int   `json:"segments"`
}

// ErrNewer says that a manifest has a version that this program does not know.
var ErrNewer = errors.New("the snapshot has a newer format than this kojisnap reads; update kojisnap")

// ID returns the name of the snapshot with these manifest bytes: its event, and the first 12 hex digits of
// their SHA-256.
func ID(event int64, manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return fmt.Sprintf("%d-%s", event, hex.EncodeToString(sum[:6]))
}

var idRE = regexp.MustCompile(`^[0-9]{1,19}-[0-9a-f]{12}$`)

// The beginnings of objects' names in a store.
const (
	ManifestPrefix = "snapshots/" // manifests and their signatures
	PullPrefix     = "pulls/"     // results of pulls that were interrupted
)

// ManifestObject names the object that holds a snapshot's manifest.
func ManifestObject(id string) (string, error) {
	if !idRE.MatchString(id) {
		return "", fmt.Errorf("%q is not a snapshot's id (they look like 419-0123456789ab)", id)
	}
	return ManifestPrefix + id + ".json", nil
}

// IDOfObject is the inverse of ManifestObject. For other objects it returns false.
func IDOfObject(name string) (string, bool) {
	id, ok := strings.CutSuffix(strings.TrimPrefix(name, ManifestPrefix), ".json")
	return id, ok && idRE.MatchString(id) && strings.HasPrefix(name, ManifestPrefix)
}

// Encode completes the manifest (format, version, totals, order), and returns its bytes and its id.
func (m *Manifest) Encode() (body []byte, id string, err error) {
	return m.encode(relation.Current())
}

func (m *Manifest) encode(catalogue *relation.Catalogue) (body []byte, id string, err error) {
	m.Format, m.Version = formatName, max(m.needs(), catalogue.Newest())
	for _, r := range catalogue.Optional() {
		if m.HasRelation(r) {
			m.Version = max(m.Version, r.Format)
		}
	}
	m.Totals = Totals{}
	for _, r := range m.Relations {
		m.Totals.Rows += r.Rows
		for _, s := range slices.Concat(r.Segments, r.Revoked) {
			m.Totals.Bytes += s.Bytes
			m.Totals.Compressed += s.Compressed
			m.Totals.Segments++
		}
	}
	if err := m.validate(catalogue); err != nil {
		return nil, "", err
	}
	body, err = json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, "", err
	}
	body = append(body, '\n')
	return body, ID(m.Event, body), nil
}

// needs returns the version that a reader must know for the fields besides the relations. Earlier programs
// can read a manifest that does not need the newest version, and refuse others with the right message.
func (m *Manifest) needs() int {
	if m.Scope.Everything {
		return 5
	}
	if m.Source != "" {
		return 3
	}
	s := &m.Scope
	if len(s.Asked)+len(s.Content)+len(s.Builds) > 0 || slices.ContainsFunc(s.All, func(t Tag) bool { return t.History > 0 }) {
		return 2
	}
	return 1
}

// Decode reads a manifest. Unknown fields are an error, and so is a newer version (ErrNewer).
func Decode(body []byte) (*Manifest, error) { return decode(body, relation.Current()) }

func decode(body []byte, catalogue *relation.Catalogue) (*Manifest, error) {
	var head struct {
		Format  string
		Version int
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if head.Format != formatName {
		return nil, fmt.Errorf("manifest: format is %q, not %q", head.Format, formatName)
	}
	if head.Version > max(formatVersion, catalogue.Newest()) {
		return nil, fmt.Errorf("manifest of version %d: %w", head.Version, ErrNewer)
	}
	m := new(Manifest)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.validate(catalogue); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

var shaRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// validate checks the manifest against the catalogue of its version.
func (m *Manifest) validate(catalogue *relation.Catalogue) error {
	if m.Version < 1 || m.Event <= 0 {
		return fmt.Errorf("version %d, event %d", m.Version, m.Event)
	}
	if m.Source != "" && m.Source != SourceDatabase && m.Source != SourceDump {
		return fmt.Errorf("source %.100q", m.Source)
	}
	if s := &m.Scope; s.Everything && len(s.Tags)+len(s.Asked)+len(s.Content)+len(s.Builds) > 0 {
		return fmt.Errorf("scope: everything, and single tags or builds")
	}
	for i, b := range m.Scope.Builds {
		if err := b.validate(); err != nil {
			return err
		}
		if i > 0 && m.Scope.Builds[i-1].ID >= b.ID {
			return fmt.Errorf("scope: builds are not sorted by id, or build %d is there twice", b.ID)
		}
	}
	for _, t := range m.Scope.All {
		if t.History < 0 || t.History > m.Event {
			return fmt.Errorf("tag %d: history from event %d, the snapshot is of event %d", t.ID, t.History, m.Event)
		}
	}
	all := slices.Clone(catalogue.At(m.Version))
	for _, r := range catalogue.Optional() {
		if m.Version >= r.Format && m.HasRelation(r) {
			all = append(all, r)
		}
	}
	if len(m.Relations) != len(all) {
		return fmt.Errorf("%d relations, version %d has %d", len(m.Relations), m.Version, len(all))
	}
	for i, r := range m.Relations {
		want := all[i]
		if r.Name != want.Name || !slices.Equal(r.Columns, want.ColumnNames()) || !slices.Equal(r.Key, want.Key) {
			return fmt.Errorf("relation %q is not version %d's %q", r.Name, m.Version, want.Name)
		}
		for _, s := range slices.Concat(r.Segments, r.Revoked) {
			if !shaRE.MatchString(s.SHA256) || s.Rows <= 0 || s.Bytes <= 0 || s.Layer < 0 {
				return fmt.Errorf("relation %s: bad segment %q", r.Name, s.SHA256)
			}
		}
	}
	return nil
}

// Snapshot is a manifest and the means to read its rows. Its methods may be called concurrently.
type Snapshot struct {
	ID        string
	Manifest  *Manifest
	get       GetFunc
	catalogue *relation.Catalogue
	at        int64     // the event as of which it is read; 0: its own
	filter    Filter    // nil: all rows
	whole     *Manifest // the manifest of all rows, if there is a filter
	unclean   unclean
}

// Open reads the manifest of the snapshot id. It returns fs.ErrNotExist if there is none, and a *DamagedError
// if the manifest's bytes do not give its id.
func Open(ctx context.Context, get GetFunc, id string) (*Snapshot, error) {
	return openWith(ctx, get, id, relation.Current())
}

func openWith(ctx context.Context, get GetFunc, id string, catalogue *relation.Catalogue) (*Snapshot, error) {
	object, err := ManifestObject(id)
	if err != nil {
		return nil, err
	}
	r, err := get(ctx, object)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, MaxManifest))
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	m, err := decode(body, catalogue)
	if errors.Is(err, ErrNewer) {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	switch sum := sha256.Sum256(body); {
	case !strings.HasSuffix(id, "-"+hex.EncodeToString(sum[:6])):
		err = errors.New("its SHA-256 is not the one in its name")
	case err == nil && ID(m.Event, body) != id:
		err = fmt.Errorf("it is of event %d", m.Event)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, &DamagedError{object, err.Error()})
	}
	return &Snapshot{ID: id, Manifest: m, get: get, catalogue: catalogue}, nil
}

// Rows opens the view at E of a relation of the catalogue. The caller closes it.
func (s *Snapshot) Rows(ctx context.Context, name string) *Rows { return s.open(ctx, name, false) }

// Revoked opens the rows of a relation that were revoked between an earlier snapshot and E.
func (s *Snapshot) Revoked(ctx context.Context, name string) *Rows { return s.open(ctx, name, true) }

// Relation returns the manifest's entry for a relation of the catalogue, nil if the catalogue does not have
// it. If the snapshot or its version lacks the relation, the entry has no rows.
func (s *Snapshot) Relation(name string) *Relation {
	for i := range s.Manifest.Relations {
		if r := &s.Manifest.Relations[i]; r.Name == name {
			return r
		}
	}
	if r := s.catalogue.Get(name); r != nil && !s.Manifest.HasRelation(r) {
		return &Relation{Name: name, Columns: r.ColumnNames(), Key: r.Key}
	}
	return nil
}

func (s *Snapshot) open(ctx context.Context, name string, revoked bool) *Rows {
	rows := s.openAll(ctx, name, revoked)
	if s.filter != nil && rows.err == nil {
		rows.filter = s.filter(rows.rel, revoked)
	}
	return rows
}

// openAll opens a relation whatever its filter says.
func (s *Snapshot) openAll(ctx context.Context, name string, revoked bool) *Rows {
	rel := s.Relation(name)
	if rel == nil {
		return &Rows{err: fmt.Errorf("snapshot %s: no relation %q", s.ID, name)}
	}
	of := s.catalogue.Get(name)
	if s.at > 0 && of.Versioned {
		rows := s.rows(ctx, of, rel.everything())
		rows.past = &past{event: s.at, created: of.Index("create_event"), revoked: of.Index("revoke_event"), revoker: of.Index("revoker_id"), active: of.Index("active")}
		return rows
	}
	if revoked {
		return s.rows(ctx, of, rel.Revoked)
	}
	return s.rows(ctx, of, rel.Segments)
}

// rows opens segments of a relation.
func (s *Snapshot) rows(ctx context.Context, of *relation.Relation, segments []Segment) *Rows {
	return s.noting(openRows(ctx, s.get, of, s.stored(of), segments), of.Name)
}

// stored returns a relation as the segments have it: with the columns of the snapshot's version.
func (s *Snapshot) stored(of *relation.Relation) *relation.Relation {
	for _, r := range s.catalogue.At(s.Manifest.Version) {
		if r.Name == of.Name {
			return r
		}
	}
	return of // it is optional, or there are no segments
}
