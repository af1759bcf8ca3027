package verify

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// rpmChecks compare rpms and their signatures, as listTaggedRPMS answers them.
type rpmChecks struct{ *verifier }

// checkRPMs compares what listTaggedRPMS answers with production, arch by arch.
func (v rpmChecks) checkRPMs(ctx context.Context, t *taggedTag) error {
	var have *listing
	c := Check{Name: "rpms", Tag: t.name}
	err := v.attempt(ctx, c, func() (err error) {
		have, err = v.staging.rpms(ctx, t.here)
		return err
	})
	if err != nil || have == nil {
		return err
	}
	v.listings[t.name] = have
	return v.attempt(ctx, c, func() error {
		want, err := v.expected.rpms(ctx, t.tagRef)
		if err != nil {
			return err
		}
		v.nameBuilds(t, want, have)
		if odd := append(want.odd, have.odd...); len(odd) > 0 {
			bad := Check{Name: "rpms", Tag: t.name, Count: len(odd), Detail: "rpms that a hub lists without their builds"}
			for _, line := range odd {
				bad.bad("%s", line)
			}
			v.add(bad, StatusFailed)
		}
		t.matching = v.match(want, have, t.undecided, v.Record.of(slices.Collect(maps.Values(want.builds))))
		v.reportRPMs(t)
		return nil
	})
}

// nameBuilds gives staging's builds the names that their packages have in production.
func (v rpmChecks) nameBuilds(t *taggedTag, want, have *listing) {
	packages := newNames(v.Record.IDs["package"])
	for _, b := range want.builds {
		packages.production[b.packageID] = b.name
	}
	for _, b := range have.builds {
		if b.as = packages.of(b.packageID, b.name); b.as != b.name {
			t.renamed[fmt.Sprintf("package %s is %q in staging", b.as, b.name)] = true
		}
	}
}

// matching says which rpms of production equal which of staging.
type matching struct {
	equal          []pair
	missing, extra []*taggedRPM   // only in production, only in staging
	explained      map[string]int // how many differences staging's own decisions explain, by arch
	reasons        map[string]int // and by decision
}

// pair is the same rpm in production and staging.
type pair struct{ want, have *taggedRPM }

// match compares the rpms of both sides. Undecided builds need not be in staging.
func (v rpmChecks) match(want, have *listing, undecided map[int64]bool, decided decided) *matching {
	m := &matching{explained: map[string]int{}, reasons: map[string]int{}}
	explain := func(r *taggedRPM, why string) {
		m.explained[r.arch]++
		m.reasons[why]++
	}
	staging := map[string][]*taggedRPM{}
	for i := range have.rpms {
		if r := &have.rpms[i]; v.takes(r.arch) {
			staging[r.identity()] = append(staging[r.identity()], r)
		}
	}
	displaced := map[string]string{} // packages where staging may have another build, and why
	for i := range want.rpms {
		r := &want.rpms[i]
		if !v.takes(r.arch) {
			continue
		}
		id := r.identity()
		if same := staging[id]; len(same) > 0 {
			m.equal = append(m.equal, pair{r, same[0]})
			staging[id] = same[1:]
		} else if why := decided.about(r); why != "" {
			explain(r, why)
			displaced[r.build.name] = why
		} else if !undecided[r.buildID] {
			m.missing = append(m.missing, r)
		}
	}
	for _, rest := range staging {
		for _, r := range rest {
			if why := cmp.Or(decided.about(r), displaced[cmp.Or(r.build.as, r.build.name)]); why != "" {
				explain(r, why)
			} else {
				m.extra = append(m.extra, r)
			}
		}
	}
	return m
}

// reportRPMs adds a check for each arch.
func (v rpmChecks) reportRPMs(t *taggedTag) {
	tag, m := t.name, t.matching
	checks := map[string]*Check{}
	of := func(arch string) *Check {
		if checks[arch] == nil {
			c := checkOf("rpms", tag)
			c.Arch, checks[arch] = arch, &c
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
	for arch, n := range m.explained {
		of(arch).Detail = fmt.Sprintf("and %d differences by what staging decided", n)
	}
	for why, n := range m.reasons {
		t.explain(why, n)
	}
	if len(checks) == 0 && tag != byName {
		v.add(Check{Name: "rpms", Tag: tag, Detail: "production's tag holds none"}, StatusFailed)
	}
	for _, arch := range slices.Sorted(maps.Keys(checks)) {
		v.add(*checks[arch], StatusFailed)
	}
}

// checkSignatures compares the rows of rpmsigs. Dist repos fail for an rpm without any.
func (v rpmChecks) checkSignatures(ctx context.Context, t *taggedTag) error {
	have := v.listings[t.name]
	if have == nil {
		return nil
	}
	var rows map[int64][]signature // nil: not known
	err := v.attempt(ctx, Check{Name: "signatures", Tag: t.name}, func() error {
		found, err := v.staging.signatures(ctx, t.here)
		if err == nil {
			rows = found
			for i := range have.rpms {
				v.rows[have.rpms[i].id] = rows[have.rpms[i].id]
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if t.matching != nil {
		if err := v.compareSignatures(ctx, t, rows); err != nil {
			return err
		}
	}
	if rows != nil {
		v.checkUnsigned(t, have, rows)
	}
	return nil
}

// compareSignatures asks for production's rows, which the checks of files use, too.
func (v rpmChecks) compareSignatures(ctx context.Context, t *taggedTag, rows map[int64][]signature) error {
	return v.attempt(ctx, Check{Name: "signatures", Tag: t.name}, func() error {
		want, err := v.expected.signatures(ctx, t.tagRef)
		if err == nil {
			v.reportSignatures(t, want, rows)
		}
		return err
	})
}

// reportSignatures compares production's rows with staging's, which are nil if they are not known.
func (v rpmChecks) reportSignatures(t *taggedTag, want, rows map[int64][]signature) {
	for _, p := range t.matching.equal {
		v.sigs[p.have.id] = want[p.want.id]
	}
	if rows == nil {
		return // checkSignatures has reported that
	}
	c := checkOf("signatures", t.name)
	c.Count = len(t.matching.equal)
	for _, p := range t.matching.equal {
		var lacks []string
		for _, sig := range want[p.want.id] {
			if slices.ContainsFunc(rows[p.have.id], func(s signature) bool { return s.key == sig.key }) {
				continue
			}
			if why := v.Record.Signatures[SignatureRow{p.want.id, sig.key}]; why != "" {
				t.explain(fmt.Sprintf("%s, signature %q: %s", p.want.nvra(), sig.key, why), 1)
			} else {
				lacks = append(lacks, sig.key)
			}
		}
		if len(lacks) > 0 {
			slices.Sort(lacks)
			c.bad("%s: staging has no row of key %q", p.have.nvra(), lacks)
		}
	}
	v.add(c, StatusFailed)
}

// checkUnsigned looks for rpms without any signature row. It includes staging's own, and those that production
// has not signed either.
func (v rpmChecks) checkUnsigned(t *taggedTag, have *listing, rows map[int64][]signature) {
	c := checkOf("unsigned", t.name)
	for i := range have.rpms {
		r := &have.rpms[i]
		if !v.takes(r.arch) {
			continue
		}
		c.Count++
		if len(rows[r.id]) == 0 {
			c.bad("%s", r.nvra())
		}
	}
	if c.Bad > 0 {
		c.Detail = "rpms without any signature row: a dist-repo of them fails"
	}
	v.add(c, StatusWarning)
}
