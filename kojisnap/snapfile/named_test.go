package snapfile_test

import (
	"reflect"
	"strings"
	"testing"

	"kojisnap/kojisnap/snapfile"
)

// TestNamedBuilds: a manifest has the builds that were asked for by name. Without such builds it has no field
// for them, as manifests of earlier versions. Entries that no pull writes are refused.
func TestNamedBuilds(t *testing.T) {
	m := memory{}
	manifest := snapshot(t, m, "package", [][][]byte{{[]byte("1"), []byte("bash")}}).Manifest
	body, _, err := manifest.Encode()
	if err != nil || strings.Contains(string(body), `"builds":`) {
		t.Fatalf("%v, %s", err, body)
	}
	if old, err := snapfile.Decode(body); err != nil || old.Scope.Builds != nil || old.NamedBuild(7) {
		t.Errorf("%+v, %v", old, err)
	}
	builds := []snapfile.NamedBuild{{ID: 7, NVR: "bash-5-1", Asked: "bash-5-1"}, {ID: 9, Asked: "9"}}
	manifest.Scope.Builds = builds
	if body, _, err = manifest.Encode(); err != nil {
		t.Fatal(err)
	}
	again, err := snapfile.Decode(body)
	if err != nil || !reflect.DeepEqual(again.Scope.Builds, builds) || !again.NamedBuild(9) || again.NamedBuild(8) || builds[1].Name() != "9" || builds[0].Name() != "bash-5-1" {
		t.Errorf("%+v, %v", again, err)
	}
	for _, bad := range [][]snapfile.NamedBuild{
		{{ID: 0, Asked: "a-1-1"}}, {{ID: -1, Asked: "a-1-1"}}, {{ID: 1 << 31, Asked: "a-1-1"}}, {{ID: 7}},
		{{ID: 9, Asked: "9"}, {ID: 7, Asked: "7"}}, {{ID: 7, Asked: "7"}, {ID: 7, Asked: "a-1-1"}},
	} {
		manifest.Scope.Builds = bad
		if _, _, err := manifest.Encode(); err == nil {
			t.Errorf("%+v is written", bad)
		}
	}
	// A manifest with other named builds describes another snapshot.
	manifest.Scope.Builds = builds[:1]
	if again.SameRows(manifest) || !again.SameRows(again) {
		t.Error("other builds are the same")
	}
}
