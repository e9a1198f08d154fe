import { Component, type FunctionComponent, h } from 'preact';

/** A component that renders again only when one of its properties is another value. */
export function memo<P extends object>(inner: FunctionComponent<P>): new (props: P) => Component<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const names = new Set([...Object.keys(this.props), ...Object.keys(next)]) as Set<keyof P>;
      for (const name of names) if (this.props[name] !== next[name]) return true;
      return false;
    }
    override render() {
      return h(inner, this.props as P);
    }
  };
}
