// BLAKE3 over several inputs at once, one a lane, written once for every vector type. No include
// guard: included inside the namespace of an instruction set that provides
//   COPSE_LANES_TARGET   the attribute that lets a function use the instructions,
//   reg, lanes           the vector of 32-bit words and its length,
//   splat, add, exor, rotate<n>, load_quarter<q> (transposed words 4q .. 4q + 3), store_values, load_counters.

/// Half a round: four columns (or diagonals), step by step side by side, as each is one long chain of
/// dependent operations. `w` are the message words in the order of their use.
COPSE_LANES_TARGET inline void half(reg& a0, reg& a1, reg& a2, reg& a3, reg& b0, reg& b1, reg& b2,
                                    reg& b3, reg& c0, reg& c1, reg& c2, reg& c3, reg& d0, reg& d1,
                                    reg& d2, reg& d3, const reg (&m)[16],
                                    const std::uint8_t* w) noexcept
{
    a0 = add(add(a0, m[w[0]]), b0);
    a1 = add(add(a1, m[w[2]]), b1);
    a2 = add(add(a2, m[w[4]]), b2);
    a3 = add(add(a3, m[w[6]]), b3);
    d0 = rotate<16>(exor(d0, a0));
    d1 = rotate<16>(exor(d1, a1));
    d2 = rotate<16>(exor(d2, a2));
    d3 = rotate<16>(exor(d3, a3));
    c0 = add(c0, d0);
    c1 = add(c1, d1);
    c2 = add(c2, d2);
    c3 = add(c3, d3);
    b0 = rotate<12>(exor(b0, c0));
    b1 = rotate<12>(exor(b1, c1));
    b2 = rotate<12>(exor(b2, c2));
    b3 = rotate<12>(exor(b3, c3));
    a0 = add(add(a0, m[w[1]]), b0);
    a1 = add(add(a1, m[w[3]]), b1);
    a2 = add(add(a2, m[w[5]]), b2);
    a3 = add(add(a3, m[w[7]]), b3);
    d0 = rotate<8>(exor(d0, a0));
    d1 = rotate<8>(exor(d1, a1));
    d2 = rotate<8>(exor(d2, a2));
    d3 = rotate<8>(exor(d3, a3));
    c0 = add(c0, d0);
    c1 = add(c1, d1);
    c2 = add(c2, d2);
    c3 = add(c3, d3);
    b0 = rotate<7>(exor(b0, c0));
    b1 = rotate<7>(exor(b1, c1));
    b2 = rotate<7>(exor(b2, c2));
    b3 = rotate<7>(exor(b3, c3));
}

template <std::size_t Round>
COPSE_LANES_TARGET inline void round(reg (&v)[16], const reg (&m)[16]) noexcept
{
    half(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13],
         v[14], v[15], m, schedule.word[Round]);
    half(v[0], v[1], v[2], v[3], v[5], v[6], v[7], v[4], v[10], v[11], v[8], v[9], v[15], v[12],
         v[13], v[14], m, schedule.word[Round] + 8);
}

/// Exactly `lanes` inputs.
COPSE_LANES_TARGET inline void run(const std::byte* const* inputs, std::size_t blocks,
                                   const batch& what, std::byte* out) noexcept
{
    const std::uint32_t* const key = what.key;
    reg h[8] = {splat(key[0]), splat(key[1]), splat(key[2]), splat(key[3]),
                splat(key[4]), splat(key[5]), splat(key[6]), splat(key[7])};
    reg counter[2];
    load_counters(what, counter);
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::uint32_t flags =
            what.flags | (b == 0 ? what.first_flags : 0) | (b + 1 == blocks ? what.last_flags : 0);
        reg m[16];
        load_quarter<0>(inputs, block_size * b, m);
        load_quarter<1>(inputs, block_size * b, m);
        load_quarter<2>(inputs, block_size * b, m);
        load_quarter<3>(inputs, block_size * b, m);
        reg v[16] = {h[0],         h[1],         h[2],       h[3],         h[4],
                     h[5],         h[6],         h[7],       splat(iv[0]), splat(iv[1]),
                     splat(iv[2]), splat(iv[3]), counter[0], counter[1],   splat(block_size),
                     splat(flags)};
        round<0>(v, m);
        round<1>(v, m);
        round<2>(v, m);
        round<3>(v, m);
        round<4>(v, m);
        round<5>(v, m);
        round<6>(v, m);
        h[0] = exor(v[0], v[8]);
        h[1] = exor(v[1], v[9]);
        h[2] = exor(v[2], v[10]);
        h[3] = exor(v[3], v[11]);
        h[4] = exor(v[4], v[12]);
        h[5] = exor(v[5], v[13]);
        h[6] = exor(v[6], v[14]);
        h[7] = exor(v[7], v[15]);
    }
    store_values(h, out);
}
