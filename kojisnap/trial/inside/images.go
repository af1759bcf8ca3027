package inside

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"kojisnap/kojisnap/tagglob"
)

// Image is what composes of some tags are made in.
type Image struct {
	// Name is that of an image of docker or podman, or of a configuration of mock.
	Name string
	// Release is what os-release must have as VERSION_ID. Empty: what the tag's name says, if it says it.
	Release string
}

// Images chooses the image of a tag and an arch: the key is a pattern of tags, and after a space perhaps one of
// arches, as in "f42* aarch64".
type Images map[string]Image

// Check returns what is wrong with a pattern or an image.
func (i Images) Check() error {
	for _, pattern := range slices.Sorted(maps.Keys(i)) {
		if err := CheckImage(pattern, i[pattern]); err != nil {
			return err
		}
	}
	return nil
}

// CheckImage returns what is wrong with a pattern or its image.
func CheckImage(pattern string, image Image) error {
	parts := strings.Split(pattern, " ")
	if len(parts) > 2 || slices.Contains(parts, "") {
		return fmt.Errorf("%q: want a pattern of tags, such as \"f42*\", or one of tags and one of arches with a space between, such as \"f42* aarch64\"", pattern)
	}
	for _, part := range parts {
		if strings.HasPrefix(part, "!") {
			return fmt.Errorf("%q: a pattern that leaves out chooses no image", pattern)
		}
		if _, err := tagglob.Parse([]string{part}); err != nil {
			return err
		}
	}
	bad := func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }
	switch {
	case image.Name == "":
		return fmt.Errorf("%q: an image is wanted", pattern)
	case strings.HasPrefix(image.Name, "-") || strings.ContainsFunc(image.Name, bad):
		return fmt.Errorf("%q: %q is no name of an image", pattern, image.Name)
	case strings.ContainsFunc(image.Release, bad):
		return fmt.Errorf("%q: %q is no release", pattern, image.Release)
	}
	return nil
}

// Choose returns the image of a tag and an arch: of the patterns that match that of the longest text, and of equally
// long ones the first in the order of the alphabet. ok is false if none matches.
func (i Images) Choose(tag, arch string) (image Image, ok bool) {
	patterns := slices.SortedFunc(maps.Keys(i), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	for _, p := range patterns {
		tags, arches, both := strings.Cut(p, " ")
		if matches(tags, tag) && (!both || matches(arches, arch)) {
			return i[p], true
		}
	}
	return Image{}, false
}

func matches(pattern, name string) bool {
	s, err := tagglob.Parse([]string{pattern})
	return err == nil && s.Has(name)
}

// errNoRelease says that nothing says which release a tag wants.
var errNoRelease = errors.New("its name does not say for which release it is: give the image as { image = \"…\", release = \"…\" }")

var (
	fedoraTag = regexp.MustCompile(`^f(\d+)(?:\D|$)`)
	elTag     = regexp.MustCompile(`^(?:epel|el|rhel-|c)(\d+)(?:\D|$)`)
)

// CheckRelease compares what os-release says with what a tag wants. unknown is true if nothing says what it wants.
func (i Image) CheckRelease(tag, id, version string) (unknown bool, err error) {
	want, wantID := i.Release, ""
	if want == "" {
		if m := fedoraTag.FindStringSubmatch(tag); m != nil {
			want, wantID = m[1], "fedora"
		} else if m := elTag.FindStringSubmatch(tag); m != nil {
			want = m[1]
		} else {
			return true, errNoRelease
		}
	}
	if version != want && !strings.HasPrefix(version, want+".") || wantID != "" && id != wantID {
		return false, fmt.Errorf("wants %s, and the image is %s %s", strings.TrimSpace(wantID+" "+want), cmp.Or(id, "of no ID"), cmp.Or(version, "without VERSION_ID"))
	}
	return false, nil
}
