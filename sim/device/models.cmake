# The RTL, Verilated and compiled: the libraries sluice_rtl_models and sluice_rtl_default.
add_library(sluice_rtl_models STATIC verilator_runtime.cpp)

# The matrix of parameters: the same as in simulated_device.cpp. What is not named has its default.
function(sluice_build name)
  set(parameters)
  foreach(parameter ${ARGN})
    list(APPEND parameters -G${parameter})
  endforeach()
  sluice_verilate(sluice_rtl_models Vscrub${name} ${parameters})
endfunction()
sluice_build(64 DATA_WIDTH=64 ADDR_WIDTH=40 NUM_QUEUES=1 NUM_SLOTS=64 PREFETCH=32 MAX_OUTSTANDING=32 NUM_MASTERS=1
  ID_PER_QUEUE=0)
sluice_build(128 DATA_WIDTH=128 ADDR_WIDTH=48 NUM_QUEUES=2 MAX_OUTSTANDING=64 ID_PER_QUEUE=0)
sluice_build(256 DATA_WIDTH=256 NUM_QUEUES=3 NUM_SLOTS=64 MAX_OUTSTANDING=64 NUM_MASTERS=1)
sluice_build(512shared NUM_MASTERS=1)
sluice_build(512lean NUM_QUEUES=1 NUM_SLOTS=64 PREFETCH=16 MAX_OUTSTANDING=16)
sluice_build(512no_quiescence NUM_QUEUES=1 WAIT_FOR_ACKS=0)
sluice_build(1024 DATA_WIDTH=1024 NUM_QUEUES=16 NUM_SLOTS=64 PREFETCH=16 MAX_OUTSTANDING=64)
# Generated code is not ours to warn about; headers of it are system headers to its users.
target_compile_options(sluice_rtl_models PRIVATE -w -g0 -fno-sanitize=all)

# The build with all defaults, 512 bits and 4 queues, is the one that hosts run. What a cycle of it executes is spread over more
# than an instruction cache of 32 KiB. For a release GCC therefore compiles it twice: first to count what rtl_training.cpp executes,
# then with what rarely runs moved aside.
add_library(sluice_rtl_default STATIC)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SLUICE_SANITIZER AND NOT SLUICE_RTL_COVERAGE)
  add_library(sluice_rtl_counted STATIC)
  sluice_verilate(sluice_rtl_counted Vscrub512)
  target_compile_options(sluice_rtl_counted PRIVATE -w -g0 -fprofile-generate)
  add_executable(sluice_rtl_training rtl_training.cpp ${device_sources})
  sluice_use_models(sluice_rtl_training)
  target_link_libraries(sluice_rtl_training PRIVATE sluice_rtl_counted)
  target_link_options(sluice_rtl_training PRIVATE -fprofile-generate)

  get_target_property(sources sluice_rtl_counted SOURCES)
  set(profile ${CMAKE_CURRENT_BINARY_DIR}/training)
  target_sources(sluice_rtl_default PRIVATE ${sources})
  foreach(property INCLUDE_DIRECTORIES INTERFACE_INCLUDE_DIRECTORIES COMPILE_DEFINITIONS COMPILE_FEATURES)
    set_target_properties(sluice_rtl_default PROPERTIES ${property} $<TARGET_PROPERTY:sluice_rtl_counted,${property}>)
  endforeach()
  target_compile_options(sluice_rtl_default PRIVATE -fprofile-use=${profile})
  # GCC leaves its counts beside an object, and looks for those of an object by its path with # for /.
  set(objects ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/TARGET.dir/CMakeFiles/sluice_rtl_counted.dir/Vscrub512.dir)
  string(REPLACE TARGET sluice_rtl_counted counted ${objects})
  string(REPLACE TARGET sluice_rtl_default used ${objects})
  string(REPLACE / \# used ${used}/)
  list(FILTER sources INCLUDE REGEX "/Vscrub512_[^/]*DepSet[^/]*\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "Slow")
  set(counts)
  set(copy_counts)
  foreach(source ${sources})
    cmake_path(GET source FILENAME file)
    list(APPEND counts ${counted}/${file}.gcda)
    list(APPEND copy_counts COMMAND ${CMAKE_COMMAND} -E copy ${counted}/${file}.gcda ${profile}/${used}${file}.gcda)
  endforeach()
  add_custom_command(OUTPUT ${profile}/done
    COMMAND ${CMAKE_COMMAND} -E rm -rf ${profile} ${counts}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${profile}
    COMMAND sluice_rtl_training
    ${copy_counts}
    COMMAND ${CMAKE_COMMAND} -E touch ${profile}/done
    DEPENDS sluice_rtl_training VERBATIM
    COMMENT "Counting what the simulated engine executes")
  add_custom_target(sluice_rtl_profile DEPENDS ${profile}/done)
  add_dependencies(sluice_rtl_default sluice_rtl_profile)
else()
  sluice_verilate(sluice_rtl_default Vscrub512)
endif()
target_compile_options(sluice_rtl_default PRIVATE -w -g0 -fno-sanitize=all)

# The same libraries for another build of the project (SLUICE_RTL_FROM).
set(exported "")
foreach(library sluice_rtl_models sluice_rtl_default)
  string(APPEND exported "add_library(${library} INTERFACE)\n"
    "target_include_directories(${library} INTERFACE \"$<REMOVE_DUPLICATES:$<TARGET_PROPERTY:${library},INTERFACE_INCLUDE_DIRECTORIES>>\")\n"
    "target_link_libraries(${library} INTERFACE $<TARGET_FILE:${library}> \"$<REMOVE_DUPLICATES:$<TARGET_PROPERTY:sluice_rtl_models,INTERFACE_LINK_LIBRARIES>>\")\n")
endforeach()
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/models.cmake CONTENT "${exported}")
