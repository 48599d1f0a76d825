#compdef keepmum
_keepmum() {
  local -a names
  names=(
%s  )
  if [[ $words[CURRENT-1] == --dialect ]]; then
    compadd -- %s
    return
  fi
  if (( CURRENT == 2 )); then
    _describe command names
    return
  fi
  case $words[2] in
%s  esac
  _files
}
compdef _keepmum keepmum
