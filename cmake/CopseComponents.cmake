# The one table of components. A row sees the rows below it; folders of one row do not see each other,
# and the protocols of row 4 reach a transport through core/transport.hpp, never through quic.

copse_component(core ROW 0)

copse_component(hash ROW 1 NEEDS core)
copse_component(codec ROW 1 NEEDS core)
copse_component(sim ROW 1 NEEDS core)

copse_component(bao ROW 2 NEEDS core hash codec)
copse_component(disk ROW 2 NEEDS core)
copse_component(db ROW 2 NEEDS core PKG_CONFIG sqlite3)
copse_component(udp ROW 2 NEEDS core)
copse_component(frame ROW 2 NEEDS core codec)

copse_component(quic ROW 3 NEEDS core hash codec udp
                PKG_CONFIG libngtcp2_crypto_gnutls libngtcp2 gnutls libsodium)
copse_component(store ROW 3 NEEDS core hash codec bao disk db)

copse_component(blob ROW 4 NEEDS core hash codec bao disk frame store)
copse_component(gossip ROW 4 NEEDS core hash codec frame)
copse_component(doc ROW 4 NEEDS core hash codec frame db store)

copse_component(node ROW 5 NEEDS core hash codec sim bao disk db udp frame quic store blob gossip doc)

add_library(copse_all INTERFACE)
add_library(copse::copse ALIAS copse_all)
set_target_properties(copse_all PROPERTIES EXPORT_NAME copse)
foreach(component IN LISTS copse_components)
    target_link_libraries(copse_all INTERFACE copse::${component})
endforeach()
