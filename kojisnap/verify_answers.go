package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
)

// expectation says what a compose is to find: production's hub, or a snapshot of it.
type expectation interface {
	// inheritance is nil for a tag that does not exist.
	inheritance(ctx context.Context, tag string) (*inheritance, error)
	// rpms are those of the latest builds, inherited ones too.
	rpms(ctx context.Context, tag string) (*listing, error)
	// signatures are those rpms' rows of rpmsigs, by rpm id.
	signatures(ctx context.Context, tag string) (map[int64][]signature, error)
	// moduleNVRs are the tagged builds of the type module.
	moduleNVRs(ctx context.Context, tag string) ([]string, error)
	// externalRepos are those of tags themselves, described.
	externalRepos(ctx context.Context, tags []string) (map[string]bool, error)
	String() string
}

// listing is a reply of listTaggedRPMS.
type listing struct {
	tag    string
	builds map[int64]*taggedBuild
	rpms   []taggedRPM
}

type taggedBuild struct {
	id                             int64
	name, version, release, volume string
}

func (b *taggedBuild) nvr() string { return b.name + "-" + b.version + "-" + b.release }

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
	return fmt.Sprintf("epoch %s, payloadhash %s, size %d, build %s", or(r.epoch, "none"), or(r.payloadHash, "none"), r.size, r.build.nvr())
}

func (r *taggedRPM) source() bool { return r.arch == "src" || r.arch == "nosrc" }

// signature is a row of rpmsigs. A hub does not tell the hash along: empty.
type signature struct{ key, hash string }

// hubAnswers asks a hub at an event.
type hubAnswers struct {
	hub   *hub.Client
	event int64
	extra bool // the hub knows the argument extra
}

func newHubAnswers(ctx context.Context, c *hub.Client, event int64) (hubAnswers, error) {
	version, err := c.Version(ctx)
	if err != nil {
		return hubAnswers{}, fmt.Errorf("hub %s: %w", c.URL(), err)
	}
	return hubAnswers{c, event, version.AtLeast(1, 29)}, nil
}

func (a hubAnswers) String() string { return a.hub.URL() }

// at adds the event to named arguments.
func (a hubAnswers) at(kwargs map[string]any) map[string]any {
	kwargs["event"] = a.event
	return kwargs
}

// inheritance is what a tag inherits.
type inheritance struct {
	order []string        // names of the tags in the order searched
	links map[string]bool // described; a snapshot has others than the tag's among them
}

func (a hubAnswers) inheritance(ctx context.Context, tag string) (*inheritance, error) {
	info, err := a.hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{tag}, Kwargs: a.at(map[string]any{})})
	if err != nil {
		return nil, err
	}
	id, ok := info.Field("id").Int()
	if !ok {
		return nil, nil
	}
	names := map[int64]string{id: tag}
	var links []link
	call := hub.Call{Method: "getFullInheritance", Args: []any{tag}, Kwargs: a.at(map[string]any{})}
	err = a.hub.Stream(ctx, call, func(r hub.Row) error {
		l := link{child: number(r.Get("child_id")), parent: number(r.Get("parent_id")), priority: number(r.Get("priority")), maxdepth: -1,
			filter: text(r.Get("pkg_filter"))}
		l.intransitive, _ = r.Get("intransitive").Bool()
		l.noconfig, _ = r.Get("noconfig").Bool()
		if depth, ok := r.Get("maxdepth").Int(); ok {
			l.maxdepth = depth
		}
		names[l.parent] = text(r.Get("name"))
		links = append(links, l)
		return nil
	})
	in := &inheritance{links: map[string]bool{}}
	for _, l := range links {
		in.order = append(in.order, names[l.parent])
		in.links[l.line(names)] = true
	}
	return in, err
}

// link is a row of tag_inheritance.
type link struct {
	child, parent, priority int64
	maxdepth                int64 // -1: NULL
	intransitive, noconfig  bool
	filter                  string
}

func (l link) line(names map[int64]string) string {
	depth := "none"
	if l.maxdepth >= 0 {
		depth = fmt.Sprint(l.maxdepth)
	}
	return fmt.Sprintf("%s inherits %s: priority %d, maxdepth %s, intransitive %t, noconfig %t, filter %q",
		names[l.child], names[l.parent], l.priority, depth, l.intransitive, l.noconfig, l.filter)
}

// taggedRPMS is the call that compose tools make.
func (a hubAnswers) taggedRPMS(tag string, sigs bool) hub.Call {
	kwargs := a.at(map[string]any{"inherit": true, "latest": true})
	if sigs {
		kwargs["rpmsigs"] = true
	}
	if a.extra {
		kwargs["extra"] = false
	}
	return hub.Call{Method: "listTaggedRPMS", Args: []any{tag}, Kwargs: kwargs}
}

func (a hubAnswers) rpms(ctx context.Context, tag string) (*listing, error) {
	l := &listing{builds: map[int64]*taggedBuild{}}
	shared := interned{}
	err := a.hub.StreamTables(ctx, a.taggedRPMS(tag, false), func(table string, r hub.Row) error {
		if table == "1" {
			id := number(r.Get("build_id"))
			l.builds[id] = &taggedBuild{id: id, name: text(r.Get("name")), version: text(r.Get("version")),
				release: text(r.Get("release")), volume: text(r.Get("volume_name"))}
			return nil
		}
		rpm := taggedRPM{id: number(r.Get("id")), buildID: number(r.Get("build_id")), name: text(r.Get("name")),
			version: shared.text(r.Get("version")), release: shared.text(r.Get("release")), arch: shared.text(r.Get("arch")),
			payloadHash: text(r.Get("payloadhash")), size: number(r.Get("size"))}
		if epoch, ok := r.Get("epoch").Int(); ok {
			rpm.epoch = fmt.Sprint(epoch)
		}
		rpm.metadataOnly, _ = r.Get("metadata_only").Bool()
		l.rpms = append(l.rpms, rpm)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range l.rpms {
		r := &l.rpms[i]
		if r.build = l.builds[r.buildID]; r.build == nil {
			return nil, fmt.Errorf("listTaggedRPMS of hub %s: rpm %q is of build %d, which is not in the reply", a, r.nvra(), r.buildID)
		}
	}
	return l, nil
}

func (a hubAnswers) signatures(ctx context.Context, tag string) (map[int64][]signature, error) {
	rows, shared := map[int64][]signature{}, interned{}
	err := a.hub.StreamTables(ctx, a.taggedRPMS(tag, true), func(table string, r hub.Row) error {
		// An rpm without any has one row, of a nil key.
		if table == "0" && r.Get("sigkey").Kind() == hub.String {
			id := number(r.Get("id"))
			rows[id] = append(rows[id], signature{key: shared.text(r.Get("sigkey"))})
		}
		return nil
	})
	return rows, err
}

func (a hubAnswers) moduleNVRs(ctx context.Context, tag string) ([]string, error) {
	builds, err := a.moduleBuilds(ctx, tag)
	var nvrs []string
	for _, b := range builds {
		nvrs = append(nvrs, b.nvr())
	}
	return nvrs, err
}

// moduleBuilds asks as Pungi does: not only for the latest.
func (a hubAnswers) moduleBuilds(ctx context.Context, tag string) ([]*moduleBuild, error) {
	var builds []*moduleBuild
	call := hub.Call{Method: "listTagged", Args: []any{tag}, Kwargs: a.at(map[string]any{"inherit": true, "type": "module"})}
	err := a.hub.Stream(ctx, call, func(r hub.Row) error {
		builds = append(builds, &moduleBuild{taggedBuild: taggedBuild{id: number(r.Get("build_id")), name: text(r.Get("package_name")),
			version: text(r.Get("version")), release: text(r.Get("release")), volume: text(r.Get("volume_name"))}})
		return nil
	})
	return builds, err
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
