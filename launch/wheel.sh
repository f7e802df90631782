#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment elsewhere, learns a painting and stylises a photograph:
# without the repository, and without a network if the system can take it away.
# shellcheck source=launch/_env.sh
source "$(dirname "${BASH_SOURCE[0]}")/_env.sh"
root=$PWD elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere" "$root/build"' EXIT
rm -rf build # setuptools would pack the files of an earlier build
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$elsewhere" .
wheel=$(echo "$elsewhere"/*.whl)
"$python" -m venv "$elsewhere/venv"
"$elsewhere/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel"
cp metastyle/assets/demo/styles/the_church_at_auvers.jpg "$elsewhere/painting.jpg"
cp metastyle/assets/demo/photos/rocket.jpg "$elsewhere/photo.jpg"
cd "$elsewhere"
offline=()
if unshare --user --map-root-user --net true 2>/dev/null; then
  offline=(unshare --user --map-root-user --net)
else
  echo "this system cannot take the network away, so the test runs with it"
fi
alone=(env -u PYTHONPATH -u METASTYLE_SAMPLE_DATA "METASTYLE_CACHE=$elsewhere/cache" ${offline[@]+"${offline[@]}"})
"${alone[@]}" venv/bin/metastyle adapt --style=painting.jpg --steps=10 --out=style.safetensors
"${alone[@]}" venv/bin/metastyle stylize --style_file=style.safetensors --content=photo.jpg --out=out.png
"${alone[@]}" venv/bin/python -c 'import metastyle; print(metastyle.load().bundle.name, "from", metastyle.__file__)'
echo "$(basename "$wheel"), $(($(stat -c %s "$wheel") / 1024)) KiB: works in an empty environment"
