package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// hubAnswers asks a hub at an event, as compose tools do.
type hubAnswers struct {
	hub   *hub.Client
	side  string // for messages: production's or staging's
	event int64
	extra bool             // the hub knows the argument extra
	ids   map[string]int64 // of tags, by the names that they had at the snapshot's event; they may have others by now
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

// stream calls fn for each row of a reply. If the reply is cut off, the call is repeated: reset is called, and
// then fn with all rows again.
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

// taggedRPMS returns the call that compose tools make.
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
		// An rpm without signatures has one row, with a nil key.
		if table == "0" && r.Get("sigkey").Kind() == hub.String {
			id := number(r.Get("id"))
			rows[id] = append(rows[id], signature{key: shared.text(r.Get("sigkey"))})
		}
		return nil
	})
	return rows, a.failed(err)
}

// modules asks as Pungi does: not only for the latest builds.
func (a hubAnswers) modules(ctx context.Context, tag tagRef) ([]*taggedBuild, error) {
	var builds []*taggedBuild
	call := hub.Call{Method: "listTagged", Args: []any{tag.id}, Kwargs: a.at(map[string]any{"inherit": true, "type": "module"})}
	err := a.stream(ctx, call, func() { builds = nil }, func(r hub.Row) { builds = append(builds, newTaggedBuild(r)) })
	return builds, err
}

// undecided returns nil: a hub that cannot evaluate a filter answers with a fault.
func (a hubAnswers) undecided(tagRef) []*tagged.Undecided { return nil }

// arches returns the arches of a tag's configuration, inherited ones included.
func (a hubAnswers) arches(ctx context.Context, tag tagRef) ([]string, error) {
	config, err := a.hub.Call(ctx, hub.Call{Method: "getBuildConfig", Args: []any{tag.id}, Kwargs: a.at(map[string]any{})})
	return strings.Fields(text(config.Field("arches"))), a.failed(err)
}

func (a hubAnswers) config(ctx context.Context, tag tagRef) error {
	_, err := a.arches(ctx, tag)
	return err
}

// interned keeps one copy of each text that comes often.
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

// named asks for builds by their ids, with all that a compose takes of them.
func (a hubAnswers) named(ctx context.Context, builds []snapfile.NamedBuild) ([]namedBuild, error) {
	const each = 3
	var calls []hub.Call
	for _, b := range builds {
		calls = append(calls, hub.Call{Method: "getBuild", Args: []any{b.ID}, KeepBad: true},
			hub.Call{Method: "listBuildRPMs", Args: []any{b.ID}, KeepBad: true}, hub.Call{Method: "listArchives", Args: []any{b.ID}, KeepBad: true})
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return nil, err
	}
	all, shared := make([]namedBuild, len(builds)), interned{}
	for i := range builds {
		of := results[each*i : each*i+each]
		for _, r := range of {
			if r.Err != nil && all[i].err == nil {
				all[i].err = a.failed(r.Err)
			}
		}
		if _, there := of[0].Value.Field("build_id").Int(); !there {
			if of[0].Err == nil {
				all[i].err = nil // there is no such build, whatever the other calls answered
			}
			continue
		}
		all[i].taggedBuild, all[i].state = newTaggedBuild(hub.Row{Value: of[0].Value}), number(of[0].Value.Field("state"))
		all[i].module = of[0].Value.Field("extra").Field("typeinfo").Field("module").Kind() == hub.Struct
		for _, r := range of[1].Value.Items() {
			rpm := newTaggedRPM(hub.Row{Value: r}, shared)
			rpm.build = all[i].taggedBuild
			all[i].rpms = append(all[i].rpms, rpm)
		}
		for _, r := range of[2].Value.Items() {
			all[i].archives = append(all[i].archives, archiveText(text(r.Field("filename")), number(r.Field("size")), number(r.Field("checksum_type")), text(r.Field("checksum"))))
		}
	}
	return all, a.namedSignatures(ctx, all)
}

// namedSignatures asks for the signatures of the builds' rpms.
func (a hubAnswers) namedSignatures(ctx context.Context, builds []namedBuild) error {
	var calls []hub.Call
	var of []*namedBuild
	for i := range builds {
		b := &builds[i]
		b.sigs = map[int64][]signature{}
		for _, r := range b.rpms {
			calls, of = append(calls, hub.Call{Method: "queryRPMSigs", Args: []any{r.id}}), append(of, b)
		}
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil {
			of[i].err = a.failed(r.Err)
		}
		for _, row := range r.Value.Items() {
			id := number(row.Field("rpm_id"))
			of[i].sigs[id] = append(of[i].sigs[id], signature{text(row.Field("sigkey")), text(row.Field("sighash"))})
		}
	}
	return nil
}

// externalRepos asks for each tag's own repos: if two tags have the same repo, the whole list shows only the
// first.
func (a hubAnswers) externalRepos(ctx context.Context, tags []tagRef) (repos []externalRepo, errs []error) {
	calls := make([]hub.Call, len(tags))
	for i, tag := range tags {
		calls[i] = hub.Call{Method: "getTagExternalRepos", Kwargs: a.at(map[string]any{"tag_info": tag.id})}
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return nil, []error{err}
	}
	for i, tag := range tags {
		if err := results[i].Err; err != nil {
			var call *hub.CallError
			if errors.As(err, &call) {
				err = call.Err
			}
			errs = append(errs, a.failed(fmt.Errorf("external repos of tag %s: %w", tag.name, err)))
			continue
		}
		for _, r := range results[i].Value.Items() {
			repos = append(repos, externalRepo{tag: tag.id, id: number(r.Field("external_repo_id")), name: text(r.Field("external_repo_name")),
				priority: number(r.Field("priority")), mergeMode: text(r.Field("merge_mode")), arches: text(r.Field("arches"))})
		}
	}
	return repos, errs
}
