package kojisnap

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// expectation says what a compose is to find: production's hub, or a snapshot of it.
type expectation interface {
	// tag finds a tag by its name; there is false if it does not exist at the event.
	tag(ctx context.Context, name string) (t tagRef, there bool, err error)
	inheritance(ctx context.Context, tag tagRef) (*inheritance, error)
	// rpms are those of the latest builds, inherited ones too.
	rpms(ctx context.Context, tag tagRef) (*listing, error)
	// signatures are those rpms' rows of rpmsigs, by rpm id.
	signatures(ctx context.Context, tag tagRef) (map[int64][]signature, error)
	// modules are the tagged builds of the type module.
	modules(ctx context.Context, tag tagRef) ([]*taggedBuild, error)
	// undecided are builds among those of rpms and modules of which it is not known whether the tag
	// has them: whatever staging's hub says of them is right.
	undecided(tag tagRef) []*tagged.Undecided
	// externalRepos are those of tags themselves. An error of one tag's is in errs.
	externalRepos(ctx context.Context, tags []tagRef) (repos []externalRepo, errs []error)
	// config says why a tag's configuration, inherited too, cannot be had, as of a tag that was deleted.
	config(ctx context.Context, tag tagRef) error
	// named are builds that were asked for by name, in the same order.
	named(ctx context.Context, builds []snapfile.NamedBuild) ([]namedBuild, error)
	String() string
}

// listing is a reply of listTaggedRPMS.
type listing struct {
	tag    tagRef
	builds map[int64]*taggedBuild
	rpms   []taggedRPM
	odd    []string // rpms that could not be taken, and why
}

type taggedBuild struct {
	id, packageID                  int64
	name, version, release, volume string
	as                             string // production's name of the package; empty: name
}

func (b *taggedBuild) nvr() string { return b.name + "-" + b.version + "-" + b.release }

// identity is what must be equal in production and staging.
func (b *taggedBuild) identity() string {
	return cmp.Or(b.as, b.name) + "-" + b.version + "-" + b.release
}

type taggedRPM struct {
	id, buildID                  int64
	build                        *taggedBuild
	name, version, release, arch string
	epoch                        string // "" is NULL
	payloadHash                  string
	size                         int64
	metadataOnly                 bool
}

func (r *taggedRPM) nvra() string { return r.name + "-" + r.version + "-" + r.release + "." + r.arch }

// identity is what must be equal in production and staging.
func (r *taggedRPM) identity() string { return r.nvra() + " " + r.rest() }

func (r *taggedRPM) rest() string {
	return fmt.Sprintf("epoch %s, payloadhash %s, size %d, build %s", cmp.Or(r.epoch, "none"), cmp.Or(r.payloadHash, "none"), r.size, r.build.identity())
}

func (r *taggedRPM) source() bool { return r.arch == "src" || r.arch == "nosrc" }

// signature is a row of rpmsigs. A hub does not tell the hash along: empty.
type signature struct{ key, hash string }

// hubAnswers asks a hub at an event.
type hubAnswers struct {
	hub   *hub.Client
	side  string // for messages: production's or staging's
	event int64
	extra bool             // the hub knows the argument extra
	ids   map[string]int64 // of tags that were given other names since, by the names that are meant
}

func newHubAnswers(ctx context.Context, c *hub.Client, side string, event int64) (hubAnswers, error) {
	version, err := c.Version(ctx)
	if err != nil {
		return hubAnswers{}, fmt.Errorf("%s hub %s: %w", side, c.URL(), err)
	}
	return hubAnswers{hub: c, side: side, event: event, extra: version.AtLeast(1, 29)}, nil
}

func (a hubAnswers) String() string { return a.hub.URL() }

// at adds the event to named arguments.
func (a hubAnswers) at(kwargs map[string]any) map[string]any {
	kwargs["event"] = a.event
	return kwargs
}

// stream calls fn for each row of a reply. A reply that is cut off is asked for again; before its
// rows come anew, reset is called.
func (a hubAnswers) stream(ctx context.Context, call hub.Call, reset func(), fn func(hub.Row)) error {
	call.Again = reset
	return a.failed(a.hub.Stream(ctx, call, func(r hub.Row) error { fn(r); return nil }))
}

func (a hubAnswers) tag(ctx context.Context, name string) (tagRef, bool, error) {
	t, info := tagRef{name: name}, any(name)
	if id, ok := a.ids[name]; ok {
		t.id, info = id, id
	}
	reply, err := a.hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{info}, Kwargs: a.at(map[string]any{})})
	id, there := reply.Field("id").Int()
	if there {
		t.id = id
	}
	return t, there, a.failed(err)
}

// inheritance is what a tag inherits.
type inheritance struct {
	order []int64 // the tags in the order searched
	links []link  // a snapshot has others than the tag's among them
	names map[int64]string
}

func (a hubAnswers) inheritance(ctx context.Context, tag tagRef) (*inheritance, error) {
	in := &inheritance{}
	reset := func() { *in = inheritance{names: map[int64]string{tag.id: tag.name}} }
	reset()
	call := hub.Call{Method: "getFullInheritance", Args: []any{tag.id}, Kwargs: a.at(map[string]any{})}
	err := a.stream(ctx, call, reset, func(r hub.Row) {
		l := link{child: number(r.Get("child_id")), parent: number(r.Get("parent_id")), priority: number(r.Get("priority")), maxdepth: -1,
			filter: text(r.Get("pkg_filter"))}
		l.intransitive, _ = r.Get("intransitive").Bool()
		l.noconfig, _ = r.Get("noconfig").Bool()
		if depth, ok := r.Get("maxdepth").Int(); ok {
			l.maxdepth = depth
		}
		in.names[l.parent] = text(r.Get("name"))
		in.links = append(in.links, l)
		in.order = append(in.order, l.parent)
	})
	return in, err
}

// link is a row of tag_inheritance.
type link struct {
	child, parent, priority int64
	maxdepth                int64 // -1: NULL
	intransitive, noconfig  bool
	filter                  string
}

func (l link) line(name func(id int64) string) string {
	depth := "none"
	if l.maxdepth >= 0 {
		depth = fmt.Sprint(l.maxdepth)
	}
	return fmt.Sprintf("%s inherits %s: priority %d, maxdepth %s, intransitive %t, noconfig %t, filter %q",
		name(l.child), name(l.parent), l.priority, depth, l.intransitive, l.noconfig, l.filter)
}

// taggedRPMS is the call that compose tools make.
func (a hubAnswers) taggedRPMS(tag tagRef, sigs bool) hub.Call {
	kwargs := a.at(map[string]any{"inherit": true, "latest": true})
	if sigs {
		kwargs["rpmsigs"] = true
	}
	if a.extra {
		kwargs["extra"] = false
	}
	return hub.Call{Method: "listTaggedRPMS", Args: []any{tag.id}, Kwargs: kwargs}
}

func (a hubAnswers) rpms(ctx context.Context, tag tagRef) (*listing, error) {
	l := &listing{}
	shared := interned{}
	reset := func() { *l = listing{tag: tag, builds: map[int64]*taggedBuild{}} }
	reset()
	call := a.taggedRPMS(tag, false)
	call.Again = reset
	err := a.hub.StreamTables(ctx, call, func(table string, r hub.Row) error {
		if table == "1" {
			b := newTaggedBuild(r)
			l.builds[b.id] = b
			return nil
		}
		l.rpms = append(l.rpms, newTaggedRPM(r, shared))
		return nil
	})
	if err != nil {
		return nil, a.failed(err)
	}
	whole := l.rpms[:0]
	for _, r := range l.rpms {
		if r.build = l.builds[r.buildID]; r.build == nil {
			l.odd = append(l.odd, fmt.Sprintf("%s: %s hub lists it, but not its build %d", r.nvra(), a.side, r.buildID))
			continue
		}
		whole = append(whole, r)
	}
	l.rpms = whole
	return l, nil
}

// newTaggedRPM reads what listTaggedRPMS and listBuildRPMs say of an rpm.
func newTaggedRPM(r hub.Row, shared interned) taggedRPM {
	rpm := taggedRPM{id: number(r.Get("id")), buildID: number(r.Get("build_id")), name: text(r.Get("name")),
		version: shared.text(r.Get("version")), release: shared.text(r.Get("release")), arch: shared.text(r.Get("arch")),
		payloadHash: text(r.Get("payloadhash")), size: number(r.Get("size"))}
	if epoch, ok := r.Get("epoch").Int(); ok {
		rpm.epoch = fmt.Sprint(epoch)
	}
	rpm.metadataOnly, _ = r.Get("metadata_only").Bool()
	return rpm
}

// newTaggedBuild reads what listTagged, listTaggedRPMS and getBuild say of a build.
func newTaggedBuild(r hub.Row) *taggedBuild {
	return &taggedBuild{id: number(r.Get("build_id")), packageID: number(r.Get("package_id")), name: text(r.Get("package_name")),
		version: text(r.Get("version")), release: text(r.Get("release")), volume: text(r.Get("volume_name"))}
}

func (a hubAnswers) signatures(ctx context.Context, tag tagRef) (map[int64][]signature, error) {
	rows, shared := map[int64][]signature{}, interned{}
	call := a.taggedRPMS(tag, true)
	call.Again = func() { clear(rows) }
	err := a.hub.StreamTables(ctx, call, func(table string, r hub.Row) error {
		// An rpm without any has one row, of a nil key.
		if table == "0" && r.Get("sigkey").Kind() == hub.String {
			id := number(r.Get("id"))
			rows[id] = append(rows[id], signature{key: shared.text(r.Get("sigkey"))})
		}
		return nil
	})
	return rows, a.failed(err)
}

// modules asks as Pungi does: not only for the latest.
func (a hubAnswers) modules(ctx context.Context, tag tagRef) ([]*taggedBuild, error) {
	var builds []*taggedBuild
	call := hub.Call{Method: "listTagged", Args: []any{tag.id}, Kwargs: a.at(map[string]any{"inherit": true, "type": "module"})}
	err := a.stream(ctx, call, func() { builds = nil }, func(r hub.Row) { builds = append(builds, newTaggedBuild(r)) })
	return builds, err
}

// undecided are none: a hub that cannot evaluate a filter answers with a fault.
func (a hubAnswers) undecided(tagRef) []*tagged.Undecided { return nil }

// arches are those of a tag's configuration, inherited ones too.
func (a hubAnswers) arches(ctx context.Context, tag tagRef) ([]string, error) {
	config, err := a.hub.Call(ctx, hub.Call{Method: "getBuildConfig", Args: []any{tag.id}, Kwargs: a.at(map[string]any{})})
	return strings.Fields(text(config.Field("arches"))), a.failed(err)
}

func (a hubAnswers) config(ctx context.Context, tag tagRef) error {
	_, err := a.arches(ctx, tag)
	return err
}

// interned keeps one copy of texts that come often.
type interned map[string]string

func (in interned) text(v hub.Value) string {
	if v.Kind() != hub.String {
		return ""
	}
	if s, ok := in[string(v.Text())]; ok {
		return s
	}
	s := string(v.Text())
	in[s] = s
	return s
}

func text(v hub.Value) string {
	s, _ := v.Str()
	return s
}

func number(v hub.Value) int64 {
	n, _ := v.Int()
	return n
}
