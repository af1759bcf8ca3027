package volumes_test

import (
	"strings"
	"testing"

	"kojisnap/volumes"
	"kojisnap/volumes/volumestest"
)

// AllFiles has what no configuration wants, too, and Signatures knows the same signatures.
func TestAllFiles(t *testing.T) {
	in := volumestest.Input(t)
	plan, err := volumes.NewPlan(in, volumes.Want{Arches: []string{"s390x"}, BTypes: []string{"none"}})
	if err != nil {
		t.Fatal(err)
	}
	signatures, more := 0, 0
	for _, s := range plan.Staged {
		all, ok := s.AllFiles()
		if !ok {
			t.Errorf("%s: the files are not known", s.Build.NVR())
		}
		more += len(all) - len(s.Files)
		named := s.Signatures()
		for _, f := range all {
			signature := f.Kind == volumes.KindSigned || f.Kind == volumes.KindSignature
			if named(f.Path) != signature {
				t.Errorf("%s is a signature: %v", f.Path, !signature)
			}
			if signature {
				signatures++
			}
			if f.Key != "" && named(strings.Replace(f.Path, f.Key, "deadbeef", 1)) {
				t.Errorf("%s: so is one of another key", f.Path)
			}
		}
	}
	if signatures == 0 || more == 0 {
		t.Errorf("%d signatures, %d more files: the test is too weak", signatures, more)
	}
	decoded := volumes.StagedBuild{Build: plan.Staged[0].Build}
	if _, ok := decoded.AllFiles(); ok {
		t.Error("files of a build without rows")
	}
}
