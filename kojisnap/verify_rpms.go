package kojisnap

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// checkRPMs compares what listTaggedRPMS answers with production, arch by arch, and the
// signatures of what is equal.
func (v *verifier) checkRPMs(ctx context.Context, tag string) error {
	want, err := v.expected.rpms(ctx, tag)
	if err != nil {
		return err
	}
	have, err := v.staging.rpms(ctx, tag)
	if err != nil {
		return err
	}
	v.listings[tag] = have
	in, err := v.expected.inheritance(ctx, tag)
	if err != nil {
		return err
	}
	tags := map[string]bool{tag: true}
	for _, name := range in.order {
		tags[name] = true
	}
	m := v.match(want, have, v.Conflicts.in(tags))
	v.reportRPMs(tag, m)
	return v.checkSignatures(ctx, tag, have, m)
}

// matching says which rpms of production are equal to which of staging.
type matching struct {
	equal          []pair
	missing, extra []*taggedRPM // only production's, only staging's
	known          map[string]int
}

// pair is the same rpm in production and staging.
type pair struct{ want, have *taggedRPM }

func (v *verifier) match(want, have *listing, conflicts known) *matching {
	m := &matching{known: map[string]int{}}
	staging := map[string][]*taggedRPM{}
	for i := range have.rpms {
		if r := &have.rpms[i]; v.takes(r.arch) {
			staging[r.identity()] = append(staging[r.identity()], r)
		}
	}
	displaced := map[string]bool{} // packages where staging may have another build
	for i := range want.rpms {
		r := &want.rpms[i]
		if !v.takes(r.arch) {
			continue
		}
		id := r.identity()
		switch same := staging[id]; {
		case len(same) > 0:
			m.equal = append(m.equal, pair{r, same[0]})
			staging[id] = same[1:]
		case conflicts.explains(r):
			m.known[r.arch]++
			displaced[r.build.name] = true
		default:
			m.missing = append(m.missing, r)
		}
	}
	for _, rest := range staging {
		for _, r := range rest {
			if displaced[r.build.name] {
				m.known[r.arch]++
			} else {
				m.extra = append(m.extra, r)
			}
		}
	}
	return m
}

// reportRPMs adds a check for each arch.
func (v *verifier) reportRPMs(tag string, m *matching) {
	checks := map[string]*Check{}
	of := func(arch string) *Check {
		if checks[arch] == nil {
			checks[arch] = &Check{Name: "rpms", Tag: tag, Arch: arch}
		}
		return checks[arch]
	}
	for _, p := range m.equal {
		of(p.want.arch).Count++
	}
	extra := map[string]*taggedRPM{}
	for _, r := range m.extra {
		extra[r.nvra()] = r
	}
	for _, r := range m.missing {
		c := of(r.arch)
		c.Count++
		if other := extra[r.nvra()]; other != nil {
			c.bad("%s: %s; in production %s", r.nvra(), other.rest(), r.rest())
			delete(extra, r.nvra())
		} else {
			c.bad("%s: only in production", r.nvra())
		}
	}
	for _, r := range m.extra {
		if extra[r.nvra()] == r {
			of(r.arch).bad("%s: only in staging", r.nvra())
		}
	}
	for arch, n := range m.known {
		of(arch).Detail = fmt.Sprintf("and %d differences by conflicts on record", n)
	}
	if len(checks) == 0 {
		v.add(Check{Name: "rpms", Tag: tag, Detail: "production's tag holds none"}, StatusFailed)
	}
	for _, arch := range slices.Sorted(maps.Keys(checks)) {
		v.add(*checks[arch], StatusFailed)
	}
}

// checkSignatures compares the rows of rpmsigs. Of an rpm without any, dist-repos fail.
func (v *verifier) checkSignatures(ctx context.Context, tag string, have *listing, m *matching) error {
	want, err := v.expected.signatures(ctx, tag)
	if err != nil {
		return err
	}
	rows, err := v.staging.signatures(ctx, tag)
	if err != nil {
		return err
	}
	c := Check{Name: "signatures", Tag: tag, Count: len(m.equal)}
	none := Check{Name: "unsigned", Tag: tag, Detail: "rpms without any signature row: a dist-repo of them fails"}
	for _, p := range m.equal {
		var lacks []string
		for _, sig := range want[p.want.id] {
			if !slices.ContainsFunc(rows[p.have.id], func(s signature) bool { return s.key == sig.key }) {
				lacks = append(lacks, sig.key)
			}
		}
		if len(lacks) > 0 {
			slices.Sort(lacks)
			c.bad("%s: staging has no row of key %q", p.have.nvra(), lacks)
		}
		v.sigs[p.have.id] = want[p.want.id]
	}
	// Those that production has not signed either, and staging's own.
	for i := range have.rpms {
		r := &have.rpms[i]
		if !v.takes(r.arch) {
			continue
		}
		none.Count++
		if len(rows[r.id]) == 0 {
			none.bad("%s", r.nvra())
		}
	}
	v.add(c, StatusFailed)
	if none.Bad == 0 {
		none.Detail = ""
	}
	v.add(none, StatusWarning)
	return nil
}
