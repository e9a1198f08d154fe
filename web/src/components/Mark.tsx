/** A turnstone at work, its bill under a stone. The same drawing as `public/mark.svg`. */
export function Mark() {
  return (
    <svg class="mark" viewBox="-11 3 72 42" aria-hidden="true">
      <path class="mark-leg" d="M32.5 34 31 43h-4M40 33 41.5 43h-4" />
      <g transform="rotate(-11 36 31)">
        <path
          class="mark-body"
          d="M13.2 18.4C14.2 13.8 18.2 11.3 22.6 11.9c4.6.6 7.4 3.3 11.9 4.3C43.5 18.2 52.5 19.5 60 24.5c-3.5 1.3-6.5 2-9.5 3.9C46.5 32.6 41.5 35.6 35.5 35.6 27.5 35.6 20 31.5 16.8 24L4.2 28.6c3.4-2.6 7-5.3 9-10.2z"
        />
        <path class="mark-belly" d="M26.5 31.2c6.5 1.2 15.5 1.2 24-2.8C46.6 33 41.6 35.9 35.5 35.9c-4.2 0-8.3-1.1-11.7-3.3z" />
        <path class="mark-wing" d="M28 19.8c7 .2 14.5 2.2 23.5 5.2-6 3-11.5 5-16.5 4-4.2-.9-6.7-4.8-7-9.2z" />
        <circle class="mark-eye" cx="19.6" cy="17.6" r="1.3" />
      </g>
      <path class="mark-stone" d="M-8.6 43c-2-2.6-.4-6.4 3.8-8.7 3.6-2 7.6-2.5 8.7-.2 1 2.1-1 4.3-4.6 6.4-3.5 2-6.6 4.3-7.9 2.5z" />
    </svg>
  );
}
