package verify

import (
	"fmt"
	"slices"
	"testing"
)

// TestEntries: a check keeps all that is bad, sorted, up to a limit of its own and one of all checks together; the
// examples are the first of these, and the numbers stay right beyond the limits.
func TestEntries(t *testing.T) {
	r := report{&Result{}}
	check := func(bad int) Check {
		t.Helper()
		c := Check{Name: "files", Count: bad}
		for i := range bad {
			c.bad("rpm-%05d", bad-1-i)
		}
		r.add(c, StatusFailed)
		got := r.result.Checks[len(r.result.Checks)-1]
		if got.Bad != bad || len(got.Examples) != min(bad, maxExamples) || !slices.IsSorted(got.All()) || bad > 0 && got.Examples[0] != "rpm-00000" {
			t.Errorf("of %d: %d bad, examples %q", bad, got.Bad, got.Examples)
		}
		return got
	}
	for _, c := range []struct{ bad, entries, all int }{
		{0, 0, 0}, {5, 0, 5}, {6, 6, 6}, {MaxEntries + 2000, MaxEntries, MaxEntries}, {3 * MaxEntries, MaxEntries, MaxEntries}, {MaxEntries, MaxEntries, MaxEntries}, {MaxEntries, MaxEntries, MaxEntries},
		{MaxEntries, MaxEntries - 6, MaxEntries - 6}, {MaxEntries, 0, maxExamples}, {7, 0, maxExamples},
	} {
		got := check(c.bad)
		if len(got.Entries) != c.entries || len(got.All()) != c.all {
			t.Errorf("of %d: %d entries, %d in all; want %d, %d", c.bad, len(got.Entries), len(got.All()), c.entries, c.all)
		}
	}
	if last := fmt.Sprintf("rpm-%05d", MaxEntries-1); r.result.Checks[4].Entries[MaxEntries-1] != last {
		t.Errorf("the last of the first %d is %s", MaxEntries, r.result.Checks[4].Entries[MaxEntries-1])
	}
}
