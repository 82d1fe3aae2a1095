// What is kept until the tab is closed. A browser may forbid it; then it is kept until the page is left.

const here = new Map();

export function kept(name) {
  try {
    return sessionStorage.getItem(`sightline-${name}`);
  } catch {
    return here.get(name) ?? null;
  }
}

export function keep(name, value) {
  try {
    if (value) sessionStorage.setItem(`sightline-${name}`, value);
    else sessionStorage.removeItem(`sightline-${name}`);
  } catch {
    here.set(name, value);
  }
}
