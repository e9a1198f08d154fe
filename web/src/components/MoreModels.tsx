import { useEffect, useState } from 'preact/hooks';
import { bring, cancel, type Offer, type Offered, offers } from '../models.ts';

const LOOK_MS = 500;
const mb = (bytes = 0) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

/** Models that the server can bring, with their progress. Nothing where it brings none. `onBrought`: the server has one more. */
export function MoreModels({ open, onBrought }: { open: boolean; onBrought(): void }) {
  const [found, setFound] = useState<Offered>({ kind: 'none' });
  const [key, setKey] = useState('');
  const [refused, setRefused] = useState<string>();
  const [other, setOther] = useState('');
  const look = () => offers(key).then(setFound);
  const list = found.kind === 'offers' ? found.offers : [];
  const pulling = list.filter((o) => o.state === 'pulling').length;
  const here = list.filter((o) => o.state === 'here').length;

  useEffect(() => {
    if (open) void look();
  }, [open, key]);
  useEffect(() => {
    if (!open || pulling === 0) return;
    const timer = setInterval(() => void look(), LOOK_MS);
    return () => clearInterval(timer);
  }, [open, pulling, key]);
  useEffect(() => {
    if (here > 0) onBrought();
  }, [here]);

  if (found.kind === 'none') return null;
  const act = (what: typeof bring, name: string) =>
    void what(name, key).then((why) => {
      setRefused(why);
      return look();
    });
  return (
    <details class="more-models">
      <summary>Get more models</summary>
      {found.kind === 'key' && (
        <label>
          Administrator’s key (ADMIN_KEY)
          <input type="password" autocomplete="off" value={key} onChange={(event) => setKey(event.currentTarget.value.trim())} />
        </label>
      )}
      <ul>
        {list.map((offer) => (
          <OfferItem key={offer.name} offer={offer} onBring={() => act(bring, offer.name)} onCancel={() => act(cancel, offer.name)} />
        ))}
      </ul>
      {found.kind === 'offers' && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (other.trim()) act(bring, other.trim());
          }}
        >
          <label>
            Another one of the hub
            <input
              value={other}
              spellcheck={false}
              placeholder="hf:org/repo:Q4_K_M"
              onInput={(event) => setOther(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="plain">
            Get it
          </button>
        </form>
      )}
      {refused && <small role="alert">{refused}</small>}
    </details>
  );
}

function OfferItem({ offer, onBring, onCancel }: { offer: Offer; onBring(): void; onCancel(): void }) {
  const { name, state, parameters, licence, about, bytes = 0, of = 0, error } = offer;
  return (
    <li>
      <span class="name">{name}</span>
      {state === 'here' && <small class="here">here</small>}
      {state === 'absent' && (
        <button type="button" class="plain" aria-label={`Get ${name}`} onClick={onBring}>
          Get
        </button>
      )}
      {state === 'pulling' && (
        <button type="button" class="plain" aria-label={`Cancel ${name}`} onClick={onCancel}>
          Cancel
        </button>
      )}
      {state === 'pulling' && (
        <>
          <progress aria-label={`${name} is being brought`} {...(of > 0 && { max: of, value: bytes })} />
          <small role="status">{of > 0 ? `${mb(bytes)} of ${mb(of)} MB` : 'asking the hub…'}</small>
        </>
      )}
      <small>{[parameters && `${parameters} parameters`, licence, about].filter(Boolean).join(', ')}</small>
      {error && <small role="alert">{error}</small>}
    </li>
  );
}
