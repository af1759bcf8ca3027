package inside_test

import (
	"strings"
	"testing"

	"kojisnap/kojisnap/trial/inside"
)

// TestChoose: the longest pattern that matches tag and arch names the image.
func TestChoose(t *testing.T) {
	images := inside.Images{"f*": {Name: "any"}, "f42*": {Name: "f42"}, "f42* aarch64": {Name: "arm"}, "f42* *": {Name: "each"}, "f42-special": {Name: "special"}}
	if err := images.Check(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ tag, arch, want string }{
		{"f42-compose", "x86_64", "each"}, {"f42-compose", "aarch64", "arm"}, {"f42-special", "x86_64", "special"}, {"f42-special", "aarch64", "arm"},
		{"f43", "aarch64", "any"}, {"epel9", "x86_64", ""}, {"f42\n", "x86_64", "each"}, {"", "", ""},
	} {
		if got, ok := images.Choose(test.tag, test.arch); got.Name != test.want || ok != (test.want != "") {
			t.Errorf("%q %s: %q, want %q", test.tag, test.arch, got.Name, test.want)
		}
	}
}

// TestCheckImage: what can be no pattern or no image is refused, options of engines above all.
func TestCheckImage(t *testing.T) {
	for _, test := range []struct{ pattern, name, release string }{
		{"", "a", ""}, {"f42*  aarch64", "a", ""}, {"f42* a b", "a", ""}, {"!f42", "a", ""}, {"f42\n", "a", ""},
		{"f42", "", ""}, {"f42", "--privileged", ""}, {"f42", "a b", ""}, {"f42", "a\n", ""}, {"f42", "a", "4 2"},
	} {
		if inside.CheckImage(test.pattern, inside.Image{Name: test.name, Release: test.release}) == nil {
			t.Errorf("%q = %q, release %q is taken", test.pattern, test.name, test.release)
		}
	}
}

// TestCheckRelease: an image must be of the release that the tag's name says, or that the configuration says.
func TestCheckRelease(t *testing.T) {
	for _, test := range []struct{ tag, release, id, version, want string }{
		{"f42", "", "fedora", "42", ""},
		{"f42-updates", "", "fedora", "42", ""},
		{"f42-updates", "", "fedora", "43", "wants fedora 42, and the image is fedora 43"},
		{"f4", "", "fedora", "42", "wants fedora 4"},
		{"f42", "", "debian", "42", "wants fedora 42, and the image is debian 42"},
		{"f42", "", "", "", "the image is of no ID without VERSION_ID"},
		{"epel9-testing", "", "centos", "9", ""},
		{"epel9", "", "rhel", "9.4", ""},
		{"epel9", "", "rhel", "90", "wants 9, and the image is rhel 90"},
		{"eln", "", "fedora", "43", "unknown"},
		{"foo-42", "", "fedora", "42", "unknown"},
		{"eln", "11", "fedora", "11", ""},
		{"f42", "rawhide", "fedora", "42", "wants rawhide"},
	} {
		unknown, err := inside.Image{Release: test.release}.CheckRelease(test.tag, test.id, test.version)
		switch {
		case unknown != (test.want == "unknown"), test.want == "" && err != nil, test.want != "" && err == nil,
			test.want != "" && !unknown && !strings.Contains(err.Error(), test.want):
			t.Errorf("%+v: %v, %v", test, unknown, err)
		}
	}
}
