# SPDX-License-Identifier: Apache-2.0
# Packages rtl/ as the Vitis RTL kernel `scrub`: vivado -mode batch -source rtl/vitis/package.tcl -tclargs PART [OUT.xo]
# See README.md beside this file. Not run by us: it needs Vivado 2022.1 or later.
if {[llength $argv] < 1} {
  puts "usage: vivado -mode batch -source package.tcl -tclargs PART \[OUT.xo\]   (PART for example xcu250-figd2104-2L-e)"
  exit 1
}
set part [lindex $argv 0]
set out [expr {[llength $argv] > 1 ? [lindex $argv 1] : "scrub.xo"}]
set rtl [file normalize [file join [file dirname [info script]] ..]]
set work [file normalize "scrub_kernel"]
if {[file exists $out]} {
  puts "$out is there already: remove it or name another one"
  exit 1
}

create_project -force scrub $work/project -part $part
# Packages before their users.
set packages [list $rtl/sluice_ring_pkg.sv $rtl/sluice_pkg.sv]
set modules [list]
foreach file [lsort [glob $rtl/*.sv]] {
  if {[lsearch $packages $file] < 0} { lappend modules $file }
}
add_files -norecurse [concat $packages $modules]
set_property top scrub [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $work/ip -vendor sluice -library kernel -taxonomy /KernelIP -import_files -set_current false
ipx::unload_core $work/ip/component.xml
ipx::edit_ip_in_project -upgrade true -name edit -directory $work/edit $work/ip/component.xml
set core [ipx::current_core]
set_property core_revision 1 $core
foreach bus {m00_axi m01_axi s_axi_control} { ipx::associate_bus_interfaces -busif $bus -clock ap_clk $core }
ipx::associate_bus_interfaces -clock ap_clk -reset ap_rst_n $core

# Registers are the driver's business (docs/rtl/REGISTERS.md). The two below give the linker an argument for each master, so that sp=
# can connect it; the runtime never writes them.
set map [ipx::add_memory_map s_axi_control $core]
set_property slave_memory_map_ref s_axi_control [ipx::get_bus_interfaces s_axi_control -of_objects $core]
set block [ipx::add_address_block reg0 $map]
set_property range 4096 $block
set_property width 32 $block
foreach {name offset master} {data 0x010 m00_axi rings 0x018 m01_axi} {
  set register [ipx::add_register $name $block]
  set_property address_offset $offset $register
  set_property size 64 $register
  ipx::add_register_parameter ASSOCIATED_BUSIF $register
  set_property value $master [ipx::get_register_parameters ASSOCIATED_BUSIF -of_objects $register]
}

set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core
set_property supported_families {} $core
set_property auto_family_support_level level_2 $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity -kernel $core
ipx::save_core $core
close_project -delete

package_xo -xo_path $out -kernel_name scrub -ip_directory $work/ip -ctrl_protocol user_managed
puts "wrote $out"
