package verify_test

import (
	"slices"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/verify"
)

// TestVerifyNamedModule: without its content tag such a build is of no use to a compose.
func TestVerifyNamedModule(t *testing.T) {
	const build = "postgresql-stream-16-4220250401.abcdef12"
	from := pulltest.NewSource(t, "f42-compose")
	c, _ := pulltest.Production(t, hubtest.Options{}) // it has no such tag
	_, from.Snap = pulltest.PullWith(t, c, pulltest.NewStore(t), pull.Options{Tags: []string{"f43"}, Builds: []string{build}, Event: pulltest.LastEvent, Program: "test"})
	s := newStaging(t, from, signed)
	r := s.verify(t, func(o *verify.Options) { o.Want = signed })
	i := slices.IndexFunc(r.Checks, func(c verify.Check) bool { return c.Name == "build content tags" })
	if i < 0 || r.Checks[i].Status != verify.StatusFailed || r.Checks[i].Bad != 1 || r.Ready() {
		t.Errorf("ready %v:\n%s", r.Ready(), s.notOK(r))
	}
}
