package local

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gobwas/glob"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// collect reads the files that the settings ask for into the results.
func (r *Results) collect(directory string, settings *Settings) error {
	if directory == "" {
		directory = "."
	}
	directory, err := filepath.Abs(directory)
	if err != nil {
		return err
	}
	if settings.AssetPaths != nil {
		found, err := matching(directory, *settings.AssetPaths)
		if err != nil {
			return fmt.Errorf("assetPaths: %w", err)
		}
		assets := make(map[string]*types.AssetOrArchive, len(found))
		for name, asset := range found {
			assets[name] = &types.AssetOrArchive{Asset: asset}
		}
		r.Assets = &assets
	}
	if settings.ArchivePaths != nil {
		found, err := matching(directory, *settings.ArchivePaths)
		if err != nil {
			return fmt.Errorf("archivePaths: %w", err)
		}
		members := make(map[string]any, len(found))
		for name, asset := range found {
			members[name] = asset
		}
		if r.Archive, err = resource.NewAssetArchive(members); err != nil {
			return fmt.Errorf("archivePaths: %w", err)
		}
	}
	return nil
}

// matching finds the files below directory that the globs select. Globs act in order: one that begins with "!" takes
// out what earlier ones have let in. "*" stops at "/", "**" does not.
func matching(directory string, patterns []string) (map[string]*resource.Asset, error) {
	type rule struct {
		glob.Glob
		excludes bool
	}
	rules := make([]rule, 0, len(patterns))
	for _, pattern := range patterns {
		pattern, excludes := strings.CutPrefix(pattern, "!")
		compiled, err := glob.Compile(pattern, '/')
		if err != nil {
			return nil, fmt.Errorf("%q: %w", pattern, err)
		}
		rules = append(rules, rule{compiled, excludes})
	}
	found := map[string]*resource.Asset{}
	err := fs.WalkDir(os.DirFS(directory), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		selected := false
		for _, rule := range rules {
			if rule.Match(name) {
				selected = !rule.excludes
			}
		}
		if !selected {
			return nil
		}
		asset, err := resource.NewPathAsset(filepath.Join(directory, name))
		found[name] = asset
		return err
	})
	return found, err
}
