package volumes

import (
	"fmt"
	"path"
	"strings"
)

// DefaultVolume is the volume whose directory is topdir itself.
const DefaultVolume = "DEFAULT"

// Build names a build as Koji's path layout needs it. Of a draft, Release has
// the suffix ",draft_ID".
type Build struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Release string `json:"release"`
	Volume  string `json:"volume"` // "" is DEFAULT
}

// RPM names an rpm. Its release is the rpm's own: never with a draft's suffix.
// Arch is "src" for a source rpm.
type RPM struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Release string `json:"release"`
	Arch    string `json:"arch"`
}

// NVR is name-version-release.
func (b Build) NVR() string { return b.Name + "-" + b.Version + "-" + b.Release }

// VolumeDir is koji.PathInfo.volumedir relative to topdir: "." for DEFAULT,
// else vol/NAME. A volume's name may have slashes.
func VolumeDir(volume string) (string, error) {
	if volume == "" || volume == DefaultVolume {
		return ".", nil
	}
	if err := CheckPath("volume name", volume); err != nil {
		return "", err
	}
	return "vol/" + volume, nil
}

// Rel is the build's directory relative to its volume: packages/N/V/R.
func (b Build) Rel() (string, error) {
	for _, c := range [...]struct{ what, name string }{
		{"package name", b.Name}, {"build version", b.Version}, {"build release", b.Release},
	} {
		if err := CheckName(c.what, c.name); err != nil {
			return "", fmt.Errorf("build %q: %w", b.NVR(), err)
		}
	}
	return "packages/" + b.Name + "/" + b.Version + "/" + b.Release, nil
}

// Dir is koji.PathInfo.build relative to topdir.
func (b Build) Dir() (string, error) {
	rel, err := b.Rel()
	if err != nil {
		return "", err
	}
	dir, err := VolumeDir(b.Volume)
	if err != nil {
		return "", fmt.Errorf("build %q: %w", b.NVR(), err)
	}
	if dir == "." {
		return rel, nil
	}
	return dir + "/" + rel, nil
}

// Link is the symlink that Koji leaves on DEFAULT for a build on another volume
// (changeBuildVolume): its path relative to topdir, and what it says. For a build
// on DEFAULT there is none: an error.
func (b Build) Link() (path, target string, err error) {
	path, err = b.Rel()
	if err != nil {
		return "", "", err
	}
	dir, err := b.Dir()
	if err != nil {
		return "", "", err
	}
	if dir == path {
		return "", "", fmt.Errorf("build %q: on %s, where no link leads to it", b.NVR(), DefaultVolume)
	}
	return path, "../../../" + dir, nil
}

// File is the rpm's file name.
func (r RPM) File() string {
	return r.Name + "-" + r.Version + "-" + r.Release + "." + r.Arch + ".rpm"
}

// Path is koji.PathInfo.rpm: relative to the build's directory, as all paths
// of files are.
func (r RPM) Path() (string, error) {
	for _, c := range [...]struct{ what, name string }{
		{"rpm name", r.Name}, {"rpm version", r.Version}, {"rpm release", r.Release}, {"rpm arch", r.Arch},
		{"rpm file name", r.File()},
	} {
		if err := CheckName(c.what, c.name); err != nil {
			return "", fmt.Errorf("rpm %q: %w", r.File(), err)
		}
	}
	return r.Arch + "/" + r.File(), nil
}

// SignedPath is koji.PathInfo.signed: the signed copy. Koji keeps keys in lower
// case; compose configurations often do not.
func (r RPM) SignedPath(sigkey string) (string, error) {
	path, err := r.Path()
	if err != nil {
		return "", err
	}
	return signedPath(path, sigkey)
}

func signedPath(rpm, sigkey string) (string, error) {
	if err := CheckName("sigkey", sigkey); err != nil {
		return "", fmt.Errorf("rpm %q: %w", path.Base(rpm), err)
	}
	return "data/signed/" + strings.ToLower(sigkey) + "/" + rpm, nil
}

// sigPath is koji.PathInfo.sighdr: the cached signature header. The unsigned
// header, of the empty key, is directly under sigcache.
func sigPath(rpm, sigkey string) (string, error) {
	if file := path.Base(rpm); len(file)+len(".sig") > 255 {
		return "", fmt.Errorf("rpm %q: %w", file, CheckName("signature header file name", file+".sig"))
	}
	if sigkey == "" {
		return "data/sigcache/" + rpm + ".sig", nil
	}
	if err := CheckName("sigkey", sigkey); err != nil {
		return "", fmt.Errorf("rpm %q: %w", path.Base(rpm), err)
	}
	return "data/sigcache/" + strings.ToLower(sigkey) + "/" + rpm + ".sig", nil
}

// MavenPath is where koji.PathInfo.mavenbuild and mavenfile put an archive.
func MavenPath(group, artifact, version, filename string) (string, error) {
	dir := strings.ReplaceAll(group, ".", "/")
	if err := CheckPath("maven group", dir); err != nil {
		return "", &UnsafeNameError{"maven group", group, "not a path when its dots are slashes"}
	}
	for _, c := range [...]struct{ what, name string }{
		{"maven artifact", artifact}, {"maven version", version}, {"archive file name", filename},
	} {
		if err := CheckName(c.what, c.name); err != nil {
			return "", err
		}
	}
	return "maven/" + dir + "/" + artifact + "/" + version + "/" + filename, nil
}

// WinPath is koji.PathInfo.winbuild and winfile; relpath may be empty.
func WinPath(relpath, filename string) (string, error) {
	if err := CheckName("archive file name", filename); err != nil {
		return "", err
	}
	if relpath == "" {
		return "win/" + filename, nil
	}
	if err := CheckPath("win relpath", relpath); err != nil {
		return "", err
	}
	return "win/" + relpath + "/" + filename, nil
}

// ImagePath is where an archive of an image build is.
func ImagePath(filename string) (string, error) {
	if err := CheckName("archive file name", filename); err != nil {
		return "", err
	}
	return "images/" + filename, nil
}

// TypePath is where an archive of any other build type is (koji.PathInfo.typedir).
// A content generator may have put it into a subdirectory, which no database names.
func TypePath(btype, filename string) (string, error) {
	if err := CheckName("build type", btype); err != nil {
		return "", err
	}
	if err := CheckName("archive file name", filename); err != nil {
		return "", err
	}
	return "files/" + btype + "/" + filename, nil
}

// CheckHubTopdir reports what cannot be the path that staging's hub has for topdir: one that is
// not absolute and clean, or is the root.
func CheckHubTopdir(hub string) error {
	if !path.IsAbs(hub) || path.Clean(hub) != hub || hub == "/" {
		return fmt.Errorf("the hub's path of topdir %q: want an absolute path, without . and .. and needless slashes", hub)
	}
	if err := CheckPath("path of topdir", hub[1:]); err != nil {
		return fmt.Errorf("the hub's path of topdir: %w", err)
	}
	return nil
}
