package main

// An open vault and its file. A save replaces the file as a whole, so at any
// instant a crash leaves the old vault or the new one; vault.lock beside it
// keeps savers apart, and a save applies its change to what the last one left.

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long a save waits for another process's save.
var lockWait = 10 * time.Second

var errLocked = errors.New("the vault is locked: run 'keepmum unlock'")

// vault is an open vault. One save runs at a time; the rest does not wait for
// it.
type vault struct {
	path   string
	id     [idSize]byte
	saving sync.Mutex // held through a save; taken before mu
	mu     sync.Mutex // guards what follows, and is never held long
	header header
	root   []byte // locked memory; nil once closed
	data   *vaultData
}

// Format keeps root and the values out of messages.
func (*vault) Format(f fmt.State, verb rune) { secret(nil).Format(f, verb) }

// createVault makes a vault without Environments. It never overwrites: what is
// at path, be it a vault or not, stays (SPEC §3.5) [VLT-36].
func createVault(path string, pass []byte) (*vault, error) {
	unlock, err := lockSaves(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("failed to create vault %q: %w", path, fs.ErrExist)
	}
	v := &vault{path: path, header: newHeader()}
	v.id = [idSize]byte(v.header.ID)
	root, err := v.header.newRoot(pass)
	if err != nil {
		return nil, err
	}
	if err := v.save(v.header, root, &vaultData{remember: map[string]string{}}); err != nil {
		return nil, err
	}
	return v, nil
}

// newRoot derives root and sets the check that belongs to it.
func (h *header) newRoot(pass []byte) ([]byte, error) {
	root, err := h.deriveRoot(pass)
	if err == nil {
		h.Check = sure(checkOf(root))
	}
	return root, err
}

// openVault opens the vault at path, which the passphrase must fit (SPEC §3).
func openVault(path string, pass []byte) (*vault, error) {
	file, err := readVault(path)
	if err != nil {
		return nil, err
	}
	v := &vault{path: path}
	h, data, err := readData(file, func(h *header) ([]byte, error) {
		var err error
		v.root, err = h.deriveRoot(pass)
		return v.root, err
	})
	if err != nil {
		v.close()
		return nil, err
	}
	v.id, v.header, v.data = [idSize]byte(h.ID), *h, data
	return v, nil
}

// readData goes through all stages of a vault file.
func readData(file []byte, root func(*header) ([]byte, error)) (*header, *vaultData, error) {
	h, plain, err := decryptVault(file, root)
	if err != nil {
		return nil, nil, err
	}
	data, err := decodeData(plain)
	if err != nil {
		return nil, nil, &damagedError{"data", err.Error()}
	}
	return h, data, nil
}

// readVault reads a vault file of at most 64 MiB (SPEC §3.3) [VLT-16].
func readVault(path string) ([]byte, error) {
	f, err := openPrivate(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > maxVault {
		return nil, &damagedError{"file", fmt.Sprintf("over %d MiB", maxVault>>20)}
	}
	// A file that grows meanwhile is cut, and then damaged.
	file, err := io.ReadAll(io.LimitReader(f, maxVault))
	if err != nil {
		return nil, fmt.Errorf("failed to read %q: %w", path, bareError(err))
	}
	return file, nil
}

// view returns the data as of the last save. It must not be changed, and its
// values are wiped by close.
func (v *vault) view() *vaultData {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.data
}

// update runs change on a copy of what the vault holds now and saves the
// result. After an error of change or of the save, memory and file are as
// before, with one exception that errUnsynced tells of (SPEC §3).
func (v *vault) update(change func(*vaultData) error) error {
	return v.apply(func(_ *header, d *vaultData) ([]byte, error) { return v.root, change(d) })
}

// rekey gives the vault another passphrase. The audit key changes with root, so
// the old one is kept for the lines up to the audit head that the vault holds:
// bring that up to date first (SPEC §3.4, §10) [VLT-23] [AUD-4].
func (v *vault) rekey(pass []byte) error {
	return v.apply(func(h *header, d *vaultData) ([]byte, error) {
		old := &oldAuditKey{through: d.audit.number, key: v.auditKey()}
		d.audit.keys = append(d.audit.keys, old)
		// [VLT-14]: a lowered default is not inherited. [VLT-15]: a new salt.
		h.KDF.Ln, h.KDF.Salt = max(h.KDF.Ln, testOnlyLn), randomBytes(saltSize)
		return h.newRoot(pass)
	})
}

// apply changes and saves the vault under the key that change returns
// (SPEC §3.5) [VLT-31].
func (v *vault) apply(change func(*header, *vaultData) (root []byte, err error)) error {
	v.saving.Lock()
	defer v.saving.Unlock()
	if v.root == nil {
		return errLocked
	}
	unlock, err := lockSaves(v.path)
	if err != nil {
		return err
	}
	defer unlock()
	h, data, err := v.current()
	if err != nil {
		return err
	}
	data = data.clone()
	root, err := change(&h, data)
	if err != nil {
		return err
	}
	return v.save(h, root, data)
}

// current returns what a change applies to: what we have or, where another
// process saved since, what that left. The caller holds vault.lock (SPEC §3.5)
// [VLT-32].
func (v *vault) current() (header, *vaultData, error) {
	file, err := readVault(v.path)
	if err != nil {
		return header{}, nil, err
	}
	if bytes.HasPrefix(file, v.header.line) {
		return v.header, v.data, nil
	}
	h, data, err := readData(file, func(h *header) ([]byte, error) { return v.root, v.follows(h) })
	if err != nil {
		return header{}, nil, err
	}
	return *h, data, nil
}

// follows refuses a header that no save of this vault can have left (SPEC §3.5)
// [VLT-33].
func (v *vault) follows(h *header) error {
	const next = "run 'keepmum lock', then 'keepmum unlock'"
	switch {
	case !bytes.Equal(h.ID, v.header.ID):
		return fmt.Errorf("another vault was put at %q: %s", v.path, next)
	case !bytes.Equal(h.Check, v.header.Check):
		return fmt.Errorf("the passphrase of %q was changed by another process: %s", v.path, next)
	case h.Seq <= v.header.Seq:
		return fmt.Errorf("an older copy of the vault was put back at %q: save %d, this one is %d: %s",
			v.path, h.Seq, v.header.Seq, next)
	}
	return nil
}

// save writes data as the save after h, and only then takes it into memory. Of
// two keys the one that is not in use any more is wiped (SPEC §3).
func (v *vault) save(h header, root []byte, data *vaultData) error {
	err := v.write(&h, root, data)
	v.mu.Lock()
	defer v.mu.Unlock()
	unused := root
	if err == nil || errors.Is(err, errUnsynced) {
		unused = v.root
		v.header, v.root, v.data = h, root, data
	}
	if unused != nil && (v.root == nil || &unused[0] != &v.root[0]) {
		wipeLocked(unused)
	}
	return err
}

// write seals data under a salt of its own and replaces the file (SPEC §3).
func (v *vault) write(h *header, root []byte, data *vaultData) error {
	if h.Seq >= maxSeq { // [VLT-9]
		return fmt.Errorf("vault %q was saved %d times, the format counts no further:"+
			" export it into a new one", v.path, h.Seq)
	}
	h.Seq++                             // [VLT-8]
	h.Save.Salt = randomBytes(saltSize) // [VLT-12]
	plain, err := data.encode()
	if err != nil {
		return err
	}
	defer wipe(plain)
	file, err := h.seal(root, plain)
	if err != nil {
		return err
	}
	// Nothing replaces a good vault that would not open itself.
	_, back, err := readData(file, func(*header) ([]byte, error) { return root, nil })
	if err != nil {
		return fmt.Errorf("internal error: the vault would not open again: %w", err)
	}
	back.wipe()
	err = replaceFile(v.path, file)
	if err != nil && !errors.Is(err, errUnsynced) {
		return fmt.Errorf("failed to save vault %q, which is as it was: %w%s", v.path, bareError(err),
			diskAdvice(err))
	}
	return err
}

// checkPassphrase returns errPassphrase if pass does not open this vault.
func (v *vault) checkPassphrase(pass []byte) error {
	v.mu.Lock()
	h := v.header
	v.mu.Unlock()
	root, err := h.deriveRoot(pass)
	if err != nil {
		return err
	}
	defer wipeLocked(root)
	return h.checkRoot(root)
}

// auditKey returns the key of the audit's macs, or nil once closed (SPEC §10).
func (v *vault) auditKey() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root == nil {
		return nil
	}
	return sure(hkdf.Expand(sha256.New, v.root, labelAudit, auditSize))
}

// close wipes the key and every value, after a save that is under way (SPEC §4)
// [KPR-15].
func (v *vault) close() {
	v.saving.Lock()
	defer v.saving.Unlock()
	v.forget()
}

// forget wipes what is held, also where a save hangs.
func (v *vault) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.root != nil {
		wipeLocked(v.root)
	}
	if v.data != nil {
		v.data.wipe()
	}
	v.root, v.data = nil, &vaultData{}
}

// lockSaves takes vault.lock, never the vault itself, whose inode changes. The
// wait ends, since any program of the person's can hold the lock (SPEC §3.5)
// [VLT-31].
func lockSaves(path string) (unlock func() error, err error) {
	f, err := openPrivate(path+".lock", os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return f.Close, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("another process keeps saving the vault: %q could not be locked in %v"+
		" (%v), try again", path+".lock", lockWait, err)
}
