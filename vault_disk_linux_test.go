package main

// A vault on a disk that takes nothing more: the old vault stays, the error names
// the next step, and once the cause is gone the next save works.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// diskFault is a file system, and how it comes to refuse a save and to take it
// again.
type diskFault struct {
	name, options string // of tmpfs; "" is the folder as it is
	spoil, mend   func(folder string) error
	want          []string // in the error
}

var diskFaults = []diskFault{
	{"full", "size=256k", fillDisk, emptyDisk, []string{"which is as it was", "no space left on device", "df -i"}},
	{"no inodes", "nr_inodes=16", useInodes, emptyDisk, []string{"which is as it was", "no space left on device", "df -i"}},
	{"read-only", "size=256k", remount(unix.MS_RDONLY), remount(0),
		[]string{"cannot open", "read-only file system", "KEEPMUM_HOME"}},
	{"quota", "usrquota,usrquota_block_hardlimit=256k", fillDisk, emptyDisk,
		[]string{"which is as it was", "quota exceeded", "remove files of yours"}},
	{"limit of the process", "", limitSize(1200), limitSize(unix.RLIM_INFINITY),
		[]string{"which is as it was", "file too large", "ulimit -f"}},
}

// fillDisk writes until nothing more fits.
func fillDisk(folder string) error {
	f, err := os.Create(folder + "/fill")
	for chunk := make([]byte, 512); err == nil; {
		_, err = f.Write(chunk)
	}
	f.Close()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}

// useInodes makes files until none can be made.
func useInodes(folder string) error {
	for i := range 100 {
		if err := os.WriteFile(fmt.Sprint(folder, "/fill", i), nil, 0o600); err != nil {
			return nil
		}
	}
	return errors.New("100 files fit")
}

// emptyDisk removes what those two made.
func emptyDisk(folder string) (err error) {
	files, _ := filepath.Glob(folder + "/fill*")
	for _, name := range files {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func remount(flags uintptr) func(string) error {
	return func(folder string) error { return unix.Mount("", folder, "", unix.MS_REMOUNT|flags, "") }
}

func limitSize(n uint64) func(string) error {
	return func(string) error {
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: min(n, old.Max), Max: old.Max})
	}
}

const noSuchDisk = 20 // the exit status where the file system cannot be had

func init() { helpers["disk-save"] = diskSave }

// diskSave goes through one fault in a mount namespace of its own. Whatever it
// prints is the error of the save that was refused.
func diskSave() {
	testOnlyMinLn, testOnlyLn = 4, 4
	folder := os.Getenv("KEEPMUM_TEST_FOLDER")
	for _, fault := range diskFaults {
		if fault.name != os.Args[1] {
			continue
		}
		if fault.options != "" {
			err := unix.Mount("keepmum", folder, "tmpfs", 0, fault.options+",mode=0700")
			if err != nil {
				fmt.Print(err)
				os.Exit(noSuchDisk)
			}
		}
		fault.run(folder)
	}
}

func (fault *diskFault) run(folder string) {
	home := folder + "/home"
	check(ensureHome(home))
	v, err := createVault(home+"/vault", testVaultPass)
	check(err)
	check(v.update(func(d *vaultData) error { _, err := d.addEnvironment("acme-dev", testTime); return err }))
	check(v.update(setting("OLD", "1")))
	check(fault.spoil(folder))
	for range 3 {
		refused := v.update(setting("NEW", strings.Repeat("x", 1000)))
		if refused == nil || names(v) != "OLD" {
			check(fmt.Errorf("a save: %v, %s", refused, names(v)))
		}
		again, err := openVault(v.path, testVaultPass)
		check(err)
		// A new file that stayed would keep the disk full.
		if names(again) != "OLD" || !aloneIn(home) {
			check(fmt.Errorf("the file holds %s, or there are others", names(again)))
		}
		fmt.Println(refused)
	}
	check(fault.mend(folder))
	check(v.update(setting("NEW", "2")))
	if names(v) != "OLD NEW" || !aloneIn(home) {
		check(fmt.Errorf("after it there is %s, or there are other files", names(v)))
	}
}

// aloneIn reports whether a home has nothing but a vault and its lock.
func aloneIn(home string) bool {
	entries, err := os.ReadDir(home)
	return err == nil && len(entries) == 2 && entries[0].Name() == "vault" && entries[1].Name() == "vault.lock"
}

// TestVaultDisk: full, read-only, without inodes, over a quota, over a limit.
// [VLT-30] [VLT-35]
func TestVaultDisk(t *testing.T) {
	for _, fault := range diskFaults {
		t.Run(fault.name, func(t *testing.T) {
			self, err := os.Executable()
			must(t, err)
			cmd := exec.Command(self, fault.name)
			cmd.Env = []string{"KEEPMUM_TEST_HELPER=disk-save", "KEEPMUM_TEST_FOLDER=" + testFolder(t)}
			if fault.options != "" {
				cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
				if os.Getuid() != 0 {
					cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
						UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
						GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
				}
			}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case errors.As(err, &exit) && exit.ExitCode() == noSuchDisk:
				t.Skipf("no such file system here: %s", out)
			case err != nil && exit == nil:
				t.Skipf("no mount namespace here: %v", err)
			case err != nil:
				t.Fatalf("%v: %s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			for _, line := range lines {
				for _, want := range fault.want {
					if !strings.Contains(line, want) {
						t.Errorf("the error is %q, want %q in it", line, want)
					}
				}
			}
			if len(lines) != 3 {
				t.Errorf("%d errors of 3", len(lines))
			}
			t.Log(lines[0])
		})
	}
}

// TestDiskAdvice: an error of the disk at a save names the next step wherever it strikes.
func TestDiskAdvice(t *testing.T) {
	for cause, want := range map[unix.Errno]string{
		unix.ENOSPC: "make some, then try again", unix.EDQUOT: "remove files of yours",
		unix.EFBIG: "ulimit -f", unix.EROFS: "KEEPMUM_HOME", unix.EIO: "its disk fails",
		unix.EACCES: "permission denied",
	} {
		for call := range 6 {
			v := newVault(t)
			restore := failSave(t, call+1, cause, func(string) {})
			err := v.update(setting("A", "1"))
			restore()
			if !errors.Is(err, cause) || !strings.Contains(err.Error(), want) ||
				!strings.Contains(err.Error(), "which is as it was") || names(openAgain(t, v)) != "" {
				t.Errorf("%v at call %d: %v", cause, call+1, err)
			}
		}
	}
}
