package inside

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
)

// program returns the path of kojisnap's program, and the loader that it needs: none if it is static.
func (o Options) program() (path, loader string, err error) {
	if path = o.Program; path == "" {
		if path, err = os.Executable(); err != nil {
			return "", "", unusable("the path of kojisnap's own program: %v", err)
		}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", "", unusable("kojisnap's own program: %v", err)
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", "", unusable("kojisnap's own program %s: %v", path, err)
	}
	defer f.Close()
	if s := f.Section(".interp"); s != nil {
		text, err := s.Data()
		if err != nil {
			return "", "", unusable("kojisnap's own program %s: %v", path, err)
		}
		loader = strings.TrimRight(string(text), "\x00")
	}
	return path, loader, nil
}
