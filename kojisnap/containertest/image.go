package containertest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/testcontainers/testcontainers-go"
)

// Image is an image that is built from nothing, once for each tag.
type Image struct {
	Repo, Tag string
	Dirs      []string          // absolute paths of directories that any user may write to, parents first
	Texts     map[string]string // what is in small files, by their absolute paths
	// Files returns absolute paths, and the files of this machine that come there. It is called when the image is built.
	Files func() (map[string]string, error)
}

// For makes a container of an image, which is built unless the engine has it.
func (i Image) For(ctx context.Context, req *testcontainers.ContainerRequest) error {
	return withEngine(ctx, func(provider *testcontainers.DockerProvider) error {
		if _, err := provider.Client().ImageInspect(ctx, i.Repo+":"+i.Tag); err == nil {
			req.Image = i.Repo + ":" + i.Tag
			return nil
		}
		archive, err := i.archive()
		req.FromDockerfile = testcontainers.FromDockerfile{ContextArchive: bytes.NewReader(archive), Repo: i.Repo, Tag: i.Tag, KeepImage: true}
		return err
	})
}

const dockerfile = `FROM scratch
ADD root.tar /
`

// archive is a tar of a Dockerfile and of a tar that has the files of the image.
func (i Image) archive() ([]byte, error) {
	var root bytes.Buffer
	tw := tar.NewWriter(&root)
	for _, dir := range i.Dirs {
		if err := tw.WriteHeader(&tar.Header{Name: strings.TrimPrefix(dir, "/") + "/", Typeflag: tar.TypeDir, Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(i.Texts)) {
		if err := add(tw, name, 0o644, []byte(i.Texts[name])); err != nil {
			return nil, err
		}
	}
	files, err := i.Files()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		info, err := os.Stat(files[name])
		if err != nil {
			return nil, err
		}
		body, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		if err := add(tw, name, info.Mode().Perm(), body); err != nil {
			return nil, err
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	tw = tar.NewWriter(&out)
	err = errors.Join(add(tw, "Dockerfile", 0o644, []byte(dockerfile)), add(tw, "root.tar", 0o644, root.Bytes()), tw.Close())
	return out.Bytes(), err
}

func add(tw *tar.Writer, name string, mode os.FileMode, body []byte) error {
	if err := tw.WriteHeader(&tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: tar.TypeReg, Mode: int64(mode), Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := tw.Write(body)
	return err
}
