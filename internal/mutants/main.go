// Command mutants breaks packages, one small change at a time, and looks whether their own tests notice.
//
//	go run ./internal/mutants pool lock task
//
// A mutant has a comparison or a condition turned round, a boundary moved by one, another operator, a statement left
// out, or an error that is not returned. All mutants of a package are compiled into one test binary, and each run of it
// chooses one; the tests are those on memory (the tag memory). A mutant is killed when a test fails. One that takes far more processor
// time than the tests otherwise need, or never ends, is counted as hung; one that no test comes by as not reached. Of all mutants,
// the share given by -least has to be killed.
//
// Those that live are listed with the reason why they may in survivors.txt, one to a line: the name that this command
// prints, a tab, and the reason. Those that are not there are marked as new.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	least = flag.Float64("least", 90, "the percentage of mutants of each package that have to be killed")
	only  = flag.String("only", "", "only mutants whose name matches this regular expression")
	every = flag.Int("every", 1, "a sample: only each n-th mutant")
	skip  = flag.String("skip", "^$", "without the tests whose name matches this regular expression, because they take long")
)

//go:embed survivors.txt
var survivors string

// hook is what the mutants of a package ask. While REACHED names a file, it collects there who asked.
const hook = `package %s

import (
	"os"
	"strconv"
	"sync"
)

var (
	mutantChosen, _ = strconv.Atoi(os.Getenv("MUTANT"))
	mutantReached   = os.Getenv("REACHED")
	mutantsSeen     sync.Map
)

func mutantIs(n int) bool {
	if mutantReached != "" {
		if _, seen := mutantsSeen.LoadOrStore(n, true); !seen {
			f, _ := os.OpenFile(mutantReached, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			f.WriteString(strconv.Itoa(n) + "\n")
			f.Close()
		}
	}
	return n == mutantChosen
}
`

func main() {
	flag.Parse()
	bad := false
	for _, dir := range flag.Args() {
		share, err := check(dir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "mutants: %s: %v\n", dir, err)
			os.Exit(1)
		}
		bad = bad || share < *least
	}
	if bad {
		fmt.Fprintf(os.Stderr, "mutants: less than %v%% killed\n", *least)
		os.Exit(1)
	}
}

// check runs the mutants of one package and gives the percentage that was killed.
func check(dir string) (share float64, err error) {
	tmp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	mutants, binary, err := build(dir, tmp)
	if err != nil {
		return 0, err
	}
	r := runner{dir: tmp, binary: binary} // what a test that fails may leave there is of no use
	if err := r.measure(); err != nil {
		return 0, err
	}
	reached, err := r.reached(filepath.Join(tmp, "reached"))
	if err != nil {
		return 0, err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%s: %d mutants, its tests take %v of processor time\n", dir, len(mutants), r.cpu.Round(time.Millisecond))
	known := map[string]bool{}
	for line := range strings.Lines(survivors) {
		name, _, _ := strings.Cut(line, "\t")
		known[name] = true
	}
	count := map[outcome]int{}
	for i, m := range mutants {
		if i%max(*every, 1) != 0 || !match.MatchString(m.name()) {
			continue
		}
		how := unreached
		if tests := reached[i+1]; len(tests) > 0 {
			if how, err = r.run(i+1, "^("+strings.Join(tests, "|")+")$"); err == nil && how == lived {
				how, err = r.run(i+1, ".") // what a test comes by may depend on chance
			}
			if err != nil {
				return 0, err
			}
		}
		count[how]++
		if how != killed {
			remark := "new "
			if known[m.name()] {
				remark = ""
			}
			fmt.Printf("%s:%d: %s%s: %s\n", m.pos.Filename, m.pos.Line, remark, how, m.name())
		}
	}
	all := count[killed] + count[hung] + count[lived] + count[unreached]
	share = 100 * float64(count[killed]) / float64(max(all, 1))
	fmt.Printf("%s: %d mutants, %d killed (%.1f%%), %d hung, %d lived, %d not reached\n",
		dir, all, count[killed], share, count[hung], count[lived], count[unreached])
	return share, nil
}

// build compiles the tests of a package with all its mutants.
func build(dir, tmp string) (mutants []mutant, binary string, err error) {
	pkg, exports, err := load(dir)
	if err != nil {
		return nil, "", err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	var sources [][]byte
	for _, name := range pkg.GoFiles {
		src, err := os.ReadFile(filepath.Join(pkg.Dir, name))
		if err != nil {
			return nil, "", err
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), src, parser.SkipObjectResolution)
		if err != nil {
			return nil, "", err
		}
		files, sources = append(files, f), append(sources, src)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	checked, err := conf.Check(pkg.ImportPath, fset, files, info)
	if err != nil {
		return nil, "", err
	}
	overlay := map[string]string{}
	put := func(name, text string) error {
		overlay[filepath.Join(pkg.Dir, name)] = filepath.Join(tmp, name)
		return os.WriteFile(filepath.Join(tmp, name), []byte(text), 0o600)
	}
	for i, f := range files {
		m := mutator{fset: fset, file: f, src: sources[i], info: info, pkg: checked, mutants: &mutants}
		if err := put(pkg.GoFiles[i], m.rewrite()); err != nil {
			return nil, "", err
		}
	}
	if err := put("mutants.go", fmt.Sprintf(hook, pkg.Name)); err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, "", err
	}
	replace := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(replace, text, 0o600); err != nil {
		return nil, "", err
	}
	binary = filepath.Join(tmp, "mutants.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "memory", "-overlay", replace, "-o", binary, "./"+dir).CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("%w\n%s", err, out)
	}
	return mutants, binary, nil
}

type listed struct {
	Dir, ImportPath, Name, Export string
	GoFiles                       []string
}

// load finds the files of a package, and the compiled form of what it imports.
func load(dir string) (pkg listed, exports map[string]string, err error) {
	out, err := exec.Command("go", "list", "-tags", "memory", "-export", "-deps", "-json=Dir,ImportPath,Name,Export,GoFiles", "./"+dir).Output()
	if err != nil {
		return pkg, nil, err
	}
	exports = map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return pkg, exports, nil
		case err != nil:
			return pkg, nil, err
		}
		pkg, exports[p.ImportPath] = p, p.Export // the package itself comes last
	}
}

// outcome is what became of a mutant.
type outcome string

const (
	killed    outcome = "killed"
	hung      outcome = "hung"
	lived     outcome = "lived"
	unreached outcome = "not reached"
)

// runner runs the tests of one package.
type runner struct {
	dir, binary string
	cpu         time.Duration // that a run takes
	patience    time.Duration // with a run that waits instead of working
}

// measure runs the tests as they are, some times, because a mutant that is killed by a test that sometimes fails has not
// been noticed.
func (r *runner) measure() error {
	begin := time.Now()
	for range 3 {
		cmd := r.command(context.Background(), ".")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("the tests fail without a mutant: %w\n%s", err, out)
		}
		r.cpu = max(r.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	r.patience = 40*time.Second + 2*time.Since(begin) // goroutines that are left behind are waited for at the end
	return nil
}

// reached gives the tests that come by each mutant.
func (r *runner) reached(file string) (map[int][]string, error) {
	list := exec.Command(r.binary, "-test.list=^(Test|Example|Fuzz)")
	list.Dir = r.dir
	out, err := list.Output()
	if err != nil {
		return nil, err
	}
	skipped, err := regexp.Compile(*skip)
	if err != nil {
		return nil, err
	}
	all := map[int][]string{}
	for test := range strings.Lines(string(out)) {
		test = strings.TrimSpace(test)
		if skipped.MatchString(test) {
			continue
		}
		// A test that counts allocations may fail meanwhile.
		_, _ = r.command(context.Background(), "^"+test+"$", "REACHED="+file).CombinedOutput()
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // it comes by none
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			n, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				return nil, err
			}
			all[n] = append(all[n], test)
		}
		if err := os.Remove(file); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// run runs tests with a mutant until the first of them fails.
func (r *runner) run(n int, tests string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	cmd := r.command(ctx, tests, "MUTANT="+strconv.Itoa(n))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	how := lived
	for lines := bufio.NewScanner(out); lines.Scan() && how == lived; {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "SIGXCPU"):
			how = hung
		case failed.MatchString(line):
			how = killed
		}
	}
	if how != lived {
		cancel() // what else it has to say does not matter
	}
	switch err := cmd.Wait(); {
	case how != lived:
		return how, nil
	case ctx.Err() != nil:
		return hung, nil
	case err != nil:
		return killed, nil
	}
	return lived, nil
}

// failed is what a test binary says first when a test has failed, or when it crashed.
var failed = regexp.MustCompile(`^(--- FAIL|FAIL|panic: |fatal error: |unexpected fault|goleak: )`)

// command runs tests within limits: a mutant may use up all the memory or processor time that there is.
func (r *runner) command(ctx context.Context, tests string, env ...string) *exec.Cmd {
	limits := "ulimit -v 8388608; "
	if r.patience > 0 { // they have been measured
		limits += fmt.Sprintf("ulimit -t %d; ", int((4*time.Second+5*r.cpu)/time.Second))
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", limits+`exec "$@"`, "sh", r.binary,
		"-test.failfast", "-test.timeout=0", "-test.run="+tests, "-test.skip="+*skip)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), env...)
	return cmd
}
