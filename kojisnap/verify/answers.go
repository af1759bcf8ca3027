package verify

import (
	"cmp"
	"context"
	"fmt"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// expectation answers what a compose must find: production's hub, or a snapshot of it.
type expectation interface {
	// tag finds a tag by its name. there is false if it does not exist at the event.
	tag(ctx context.Context, name string) (t tagRef, there bool, err error)
	inheritance(ctx context.Context, tag tagRef) (*inheritance, error)
	// rpms returns the rpms of the latest builds, inherited ones included.
	rpms(ctx context.Context, tag tagRef) (*listing, error)
	// signatures returns the rows of rpmsigs of these rpms, by the rpm's id.
	signatures(ctx context.Context, tag tagRef) (map[int64][]signature, error)
	// modules returns the tagged builds of the type module.
	modules(ctx context.Context, tag tagRef) ([]*taggedBuild, error)
	// undecided returns those builds among rpms and modules for which it is unknown whether the tag has
	// them. Each answer of staging's hub about them is accepted.
	undecided(tag tagRef) []*tagged.Undecided
	// externalRepos returns the external repos of the tags themselves. errs has the errors of single tags.
	externalRepos(ctx context.Context, tags []tagRef) (repos []externalRepo, errs []error)
	// config returns an error if a tag has no configuration, for example because it inherits a deleted tag.
	config(ctx context.Context, tag tagRef) error
	// named returns the builds that were asked for by name, in the same order.
	named(ctx context.Context, builds []snapfile.NamedBuild) ([]namedBuild, error)
	String() string
}

// listing is a reply of listTaggedRPMS.
type listing struct {
	tag    tagRef
	builds map[int64]*taggedBuild
	rpms   []taggedRPM
	odd    []string // rpms that cannot be compared, and why
}

type taggedBuild struct {
	id, packageID                  int64
	name, version, release, volume string
	as                             string // production's name of the package, if staging calls it otherwise
}

func (b *taggedBuild) nvr() string { return b.name + "-" + b.version + "-" + b.release }

// identity returns what must be equal in production and staging.
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

// identity returns what must be equal in production and staging.
func (r *taggedRPM) identity() string { return r.nvra() + " " + r.rest() }

func (r *taggedRPM) rest() string {
	return fmt.Sprintf("epoch %s, payloadhash %s, size %d, build %s", cmp.Or(r.epoch, "none"), cmp.Or(r.payloadHash, "none"), r.size, r.build.identity())
}

func (r *taggedRPM) source() bool { return r.arch == "src" || r.arch == "nosrc" }

// signature is a row of rpmsigs. hash is empty if a hub did not tell it.
type signature struct{ key, hash string }

// inheritance is what a tag inherits.
type inheritance struct {
	order []int64 // the tags in the order searched
	links []link  // in a snapshot's answer also those of other tags
	names map[int64]string
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
