package trial

import "testing"

// TestCompareVersions: versions are compared as rpm compares them.
func TestCompareVersions(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "2.0", -1}, {"2.0.1", "2.0", 1}, {"5.5p10", "5.5p2", 1}, {"10xyz", "10.1xyz", -1}, {"xyz.4", "8", -1},
		{"1.0~rc1", "1.0", -1}, {"1.0~rc1", "1.0~rc2", -1}, {"1.0^", "1.0", 1}, {"1.0^git1", "1.01", -1}, {"1.0^git1~pre", "1.0^git1", -1},
		{"1_0", "1.0", 0}, {"007", "7", 0}, {"2a", "2.0", -1}, {"99999999999999999999", "99999999999999999998", 1},
	} {
		for _, swap := range []bool{false, true} {
			a, b, want := test.a, test.b, test.want
			if swap {
				a, b, want = b, a, -want
			}
			if got := compareVersions(a, b); got*want < 0 || (got == 0) != (want == 0) {
				t.Errorf("%s with %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

// TestMetBy: a requirement with a version is met as rpm would have it.
func TestMetBy(t *testing.T) {
	for _, test := range []struct {
		require, provide capability
		want             bool
	}{
		{capability{Name: "a"}, capability{Name: "a", Flags: "EQ", Version: "1"}, true},
		{capability{Name: "a"}, capability{Name: "a"}, true},
		{capability{Flags: "GE", Version: "1"}, capability{}, false},
		{capability{Flags: "GE", Version: "2"}, capability{Flags: "EQ", Epoch: "0", Version: "2", Release: "1"}, true},
		{capability{Flags: "GT", Version: "2"}, capability{Flags: "EQ", Version: "2", Release: "1"}, false},
		{capability{Flags: "LT", Version: "2"}, capability{Flags: "EQ", Version: "1.9"}, true},
		{capability{Flags: "LT", Version: "2"}, capability{Flags: "EQ", Epoch: "1", Version: "1.9"}, false},
		{capability{Flags: "EQ", Version: "2", Release: "3"}, capability{Flags: "EQ", Version: "2", Release: "4"}, false},
		{capability{Flags: "EQ", Version: "2"}, capability{Flags: "LE", Version: "3"}, true},
		{capability{Flags: "GE", Version: "4"}, capability{Flags: "LE", Version: "3"}, false},
	} {
		if got := test.require.metBy(test.provide); got != test.want {
			t.Errorf("%q by %q: %v", test.require, test.provide, got)
		}
	}
}
