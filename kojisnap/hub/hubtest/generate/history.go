package generate

import (
	"fmt"

	"kojisnap/kojisnap/hub/hubtest/kojidb"
	"kojisnap/kojisnap/hub/hubtest/python"
)

// sourcePackage is what all builds of a package share.
type sourcePackage struct {
	owner  int32
	epoch  int32 // null: none
	major  int
	builds int // so far
	rpms   []scaleRPM
	source int32 // codes of the prefixes of source and extra
	extra  int32
}

type scaleRPM struct {
	name, arch int32
	median     float64 // of the size
}

// packages makes the packages, their subpackages, and the package lists of the
// releases.
func (g *generation) packages() {
	names := &nameMaker{rnd: g.rnd, used: map[string]bool{}}
	alive := max(1, g.builds*92/100)
	total := alive + alive/50 + 1
	for i := range total {
		name, noarch := names.source()
		id := int32(i + 1)
		g.big.pkg.id.Add(id)
		g.big.pkg.name.Add(g.big.pkg.name.Code(name))
		url := "git+https://src.example.org/rpms/" + name + ".git#"
		p := sourcePackage{owner: g.owners[g.rnd.IntN(len(g.owners))], epoch: kojidb.Null, major: g.rnd.IntN(12),
			source: g.big.build.source.Prefix.Code(url), rpms: g.shape(names, name, noarch),
			extra: g.big.build.extra.Prefix.Code(`{"source": {"original_url": "` + url)}
		if g.rnd.IntN(20) == 0 {
			p.epoch = int32(1 + g.rnd.IntN(4))
		}
		g.pkgs = append(g.pkgs, p)
	}
	for _, r := range g.releases {
		if r.name == "f42-updates" {
			continue // the tag inherits the list
		}
		branched := g.newEvent()
		for i := range g.pkgs {
			g.list(int32(i+1), r.tag, branched, i >= alive)
		}
	}
	g.pkgs = g.pkgs[:alive]
}

// list adds a package to a tag. Packages without builds are blocked, as are a
// few others; some owners changed.
func (g *generation) list(pkg, tag, event int32, dead bool) {
	b, owner := &g.big, g.pkgs[pkg-1].owner
	row := func(blocked bool, create, revoke int32) {
		b.listed.pkg.Add(pkg)
		b.listed.tag.Add(tag)
		b.listed.blocked.Add(blocked)
		b.listed.row(create, revoke, 1)
	}
	owned := func(owner, create, revoke int32) {
		b.owned.pkg.Add(pkg)
		b.owned.tag.Add(tag)
		b.owned.owner.Add(owner)
		b.owned.row(create, revoke, 1)
	}
	if dead || g.rnd.IntN(1000) == 0 {
		later := g.newEvent()
		row(false, event, later)
		row(true, later, kojidb.Null)
	} else {
		row(false, event, kojidb.Null)
	}
	if g.rnd.IntN(20) == 0 {
		later := g.newEvent()
		owned(g.owners[g.rnd.IntN(len(g.owners))], event, later)
		owned(owner, later, kojidb.Null)
	} else {
		owned(owner, event, kojidb.Null)
	}
}

// shape returns the rpms of a package's builds.
func (g *generation) shape(names *nameMaker, name string, noarch bool) []scaleRPM {
	b := &g.big
	arch := func(a string) int32 { return b.rpm.arch.Code(a) }
	rpms := []scaleRPM{{b.rpm.name.Code(name), arch("src"), 60e3}}
	names.take(name)
	n := subpackageCount(g.rnd)
	if noarch {
		n = (n + 2) / 3
	}
	var perArch []scaleRPM
	for i := range n {
		sub := name
		if i > 0 {
			sub = names.binary(name, i-1)
		}
		switch {
		case noarch || i > 0 && g.rnd.IntN(5) == 0:
			rpms = append(rpms, scaleRPM{b.rpm.name.Code(sub), arch("noarch"), 40e3})
			continue
		case i == 0 || g.rnd.IntN(10) < 6:
			if debug := sub + "-debuginfo"; names.take(debug) {
				perArch = append(perArch, scaleRPM{b.rpm.name.Code(debug), 0, 160e3})
			}
		}
		perArch = append(perArch, scaleRPM{b.rpm.name.Code(sub), 0, 50e3})
	}
	if len(perArch) > 0 && names.take(name+"-debugsource") {
		perArch = append(perArch, scaleRPM{b.rpm.name.Code(name + "-debugsource"), 0, 90e3})
	}
	for _, a := range []string{"aarch64", "x86_64"} {
		for _, r := range perArch {
			r.arch = arch(a)
			rpms = append(rpms, r)
		}
	}
	return rpms
}

// fate says what happened to a build.
type fate uint8

const (
	fateTagged fate = iota
	fateUntagged
	fateNeverTagged
	fateFailed
	fateCanceled
	fateDeleted
)

// buildState is Koji's state of a build. fatePercent is how many builds have the fate for each 100 tagged
// ones.
var (
	buildState  = [...]int32{fateTagged: 1, fateUntagged: 1, fateNeverTagged: 1, fateFailed: 3, fateCanceled: 4, fateDeleted: 2}
	fatePercent = [...]int{fateUntagged: 10, fateNeverTagged: 2, fateFailed: 8, fateCanceled: 1, fateDeleted: 3}
)

type job struct {
	release uint16
	fate    fate
	pkg     int32 // from 0
}

// history makes all builds in order. Those of ScaleTag are spread among the others.
func (g *generation) history() {
	var jobs []job
	for i, r := range g.releases {
		for n := range r.builds {
			jobs = append(jobs, job{uint16(i), fateTagged, int32(n % len(g.pkgs))})
		}
		if g.opts.Outside <= 0 {
			continue
		}
		for f, percent := range fatePercent {
			for n := range r.builds * percent / 100 {
				jobs = append(jobs, job{uint16(i), fate(f), int32((n * 7) % len(g.pkgs))})
			}
		}
	}
	rpms := 0
	for _, j := range jobs {
		if j.fate != fateFailed && j.fate != fateCanceled {
			rpms += len(g.pkgs[j.pkg].rpms)
		}
	}
	g.big.grow(len(jobs), rpms)
	kojidb.Grow(len(jobs)*3, &g.event.id, &g.event.time)
	g.rnd.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	for _, j := range jobs {
		g.build(g.releases[j.release], j.fate, j.pkg)
	}
}

func (g *generation) build(r release, f fate, pkg int32) {
	p := &g.pkgs[pkg]
	event := g.newEvent()
	began := g.now
	duration := python.Time(60e6 + g.rnd.ExpFloat64()*900e6)
	ended := began + duration
	b := &g.big
	id := b.build.id.Len() + 1
	version := b.build.version.Code(fmt.Sprintf("%d.%d.%d", p.major, p.builds/9, p.builds/3%3))
	release := b.build.release.Code(fmt.Sprintf("%d.%s", 1+p.builds%3, r.dist))
	p.builds++
	b.build.id.Add(id)
	b.build.pkg.Add(pkg + 1)
	b.build.version.Add(version)
	b.build.release.Add(release)
	b.build.epoch.Add(p.epoch)
	b.build.event.Add(event)
	b.build.start.Add(began)
	b.build.completion.Add(ended)
	b.build.owner.Add(p.owner)
	b.build.task.Add(id)
	volume := int32(0)
	if g.rnd.IntN(20) == 0 {
		volume = int32(1 + g.rnd.IntN(7))
	}
	b.build.volume.Add(volume)
	commit := g.digest(20)
	b.build.source.Add(commit)
	b.build.source.Prefix.Add(p.source)
	b.build.extra.Add(commit)
	b.build.extra.Prefix.Add(p.extra)
	b.build.state.Add(buildState[f])
	b.types.build.Add(id)
	host := int32(1 + g.rnd.IntN(scaleHosts))
	b.task.id.Add(id)
	b.task.owner.Add(p.owner)
	b.task.host.Add(host)
	b.created.Add(began)
	if f == fateFailed || f == fateCanceled {
		return
	}
	b.root.id.Add(id)
	b.root.host.Add(host)
	b.root.task.Add(id)
	b.root.create.Add(event)
	b.root.retire.Add(event)
	g.rpms(id, version, release, p, ended, r.key, f)
	g.listings(id, r, f)
}

func (g *generation) rpms(build, version, release int32, p *sourcePackage, built python.Time, key string, f fate) {
	b := &g.big
	for _, shape := range p.rpms {
		id := b.rpm.id.Len() + 1
		b.rpm.id.Add(id)
		b.rpm.build.Add(build)
		b.rpm.root.Add(build)
		b.rpm.name.Add(shape.name)
		b.rpm.version.Add(version)
		b.rpm.release.Add(release)
		b.rpm.epoch.Add(p.epoch)
		b.rpm.arch.Add(shape.arch)
		b.rpm.payload.Add(g.digest(16))
		b.rpm.size.Add(fileSize(g.rnd, shape.median))
		b.rpm.time.Add(int64(built)/1e6 - g.rnd.Int64N(60))
		if f != fateDeleted {
			g.signatures(id, key, f)
		}
	}
}

// signatures adds the rows that the hub keeps about an rpm's signatures: one with the empty key at import,
// more when the rpm is signed.
func (g *generation) signatures(rpm int32, key string, f fate) {
	b := &g.big
	sign := func(key string) {
		b.sig.rpm.Add(rpm)
		b.sig.key.Add(b.sig.key.Code(key))
		b.sig.hash.Add(g.digest(16))
	}
	if g.rnd.IntN(50) > 0 {
		sign("")
	}
	if f == fateNeverTagged {
		return
	}
	if g.rnd.IntN(400) > 0 {
		sign(key)
	}
	if g.rnd.IntN(4) == 0 {
		sign(secondKey)
	}
}

// secondKey is a second key that signs rpms of all releases.
const secondKey = "a5e1f3c2"

// listings moves a build through the tags: into the candidate tag, and from there into the release.
func (g *generation) listings(build int32, r release, f fate) {
	if f == fateNeverTagged {
		return
	}
	row := func(tag, create, revoke int32) {
		g.big.listing.build.Add(build)
		g.big.listing.tag.Add(tag)
		g.big.listing.row(create, revoke, 1)
	}
	first, moved := g.newEvent(), g.newEvent()
	row(r.candidate, first, moved)
	switch {
	case f == fateTagged && g.rnd.IntN(100) == 0: // untagged and tagged again
		out := g.newEvent()
		row(r.tag, moved, out)
		row(r.tag, g.newEvent(), kojidb.Null)
	case f == fateTagged:
		row(r.tag, moved, kojidb.Null)
	default:
		row(r.tag, moved, g.newEvent())
	}
}
